// Package problem writes errors as problem details (RFC 7807, now RFC 9457):
// one JSON shape for everything that can go wrong, with a stable type per cause.
package problem

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of every problem response.
const ContentType = "application/problem+json"

// typePrefix starts the URI of each problem type. It is an identifier, not an
// address that anyone has to be able to open.
const typePrefix = "urn:datastorage:problem:"

// FieldError names one member of the request and what is wrong with it.
type FieldError struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Problem is one problem details object. It is an error as well, so that it
// can travel through code that does not know about HTTP responses.
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	Instance  string       `json:"instance,omitempty"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`

	// Version is the current version of the object in a version conflict.
	Version int64 `json:"current_version,omitempty"`

	// RetryAfter becomes the Retry-After header, rounded up to seconds.
	RetryAfter time.Duration `json:"-"`
}

// Error returns title and detail on one line.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// Kind is one cause of failure: a short name, a title and a status code.
type Kind struct {
	Name   string
	Title  string
	Status int
}

// The causes that this service reports.
var (
	BadRequest           = Kind{"bad-request", "The request could not be understood", http.StatusBadRequest}
	MalformedJSON        = Kind{"malformed-json", "The request body is not the JSON that was expected", http.StatusBadRequest}
	InvalidQuery         = Kind{"invalid-query", "One or more query parameters are invalid", http.StatusBadRequest}
	InvalidCursor        = Kind{"invalid-cursor", "The page cursor cannot be used", http.StatusBadRequest}
	NotFound             = Kind{"not-found", "There is nothing at this address", http.StatusNotFound}
	MethodNotAllowed     = Kind{"method-not-allowed", "The method is not supported here", http.StatusMethodNotAllowed}
	NotAcceptable        = Kind{"not-acceptable", "No acceptable representation is available", http.StatusNotAcceptable}
	RequestTimeout       = Kind{"request-timeout", "The request did not arrive in time", http.StatusRequestTimeout}
	Conflict             = Kind{"conflict", "The object already exists", http.StatusConflict}
	RequestInProgress    = Kind{"request-in-progress", "A request with this idempotency key is still running", http.StatusConflict}
	VersionMismatch      = Kind{"version-mismatch", "The object has changed in the meantime", http.StatusPreconditionFailed}
	BodyTooLarge         = Kind{"body-too-large", "The request body is too large", http.StatusRequestEntityTooLarge}
	UnsupportedMedia     = Kind{"unsupported-media-type", "The request body has an unsupported media type", http.StatusUnsupportedMediaType}
	ValidationFailed     = Kind{"validation-failed", "One or more fields are invalid", http.StatusUnprocessableEntity}
	IdempotencyReused    = Kind{"idempotency-key-reused", "The idempotency key was used for another request", http.StatusUnprocessableEntity}
	PreconditionRequired = Kind{"precondition-required", "The request needs an If-Match header", http.StatusPreconditionRequired}
	RateLimited          = Kind{"rate-limited", "Too many requests", http.StatusTooManyRequests}
	Internal             = Kind{"internal", "Something went wrong on our side", http.StatusInternalServerError}
	Unavailable          = Kind{"unavailable", "The service cannot answer right now", http.StatusServiceUnavailable}
	Timeout              = Kind{"timeout", "The request took too long", http.StatusGatewayTimeout}
)

// New makes a problem of this kind; the detail is formatted as by Sprintf.
func (k Kind) New(format string, args ...any) *Problem {
	return &Problem{Type: typePrefix + k.Name, Title: k.Title, Status: k.Status, Detail: fmt.Sprintf(format, args...)}
}

// WithErrors makes a problem of this kind that lists the fields at fault.
func (k Kind) WithErrors(errs []FieldError) *Problem {
	noun := "problems"
	if len(errs) == 1 {
		noun = "problem"
	}
	p := k.New("%d %s found", len(errs), noun)
	p.Errors = errs
	return p
}

// HasKind reports whether p is of the given kind.
func (p *Problem) HasKind(k Kind) bool {
	return p.Type == typePrefix+k.Name
}

// Write sends the problem as the response to r. The instance is the path that
// was asked for; the request id is the one already set on the response.
func Write(w http.ResponseWriter, r *http.Request, p *Problem) error {
	out := *p
	out.Instance = r.URL.Path
	out.RequestID = w.Header().Get("X-Request-Id")
	body, err := json.Marshal(&out)
	if err != nil {
		return fmt.Errorf("encode problem %s: %w", p.Type, err)
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if p.RetryAfter > 0 {
		seconds := int64((p.RetryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := w.Write(append(body, '\n')); err != nil {
		return fmt.Errorf("send problem %s: %w", p.Type, err)
	}
	return nil
}
