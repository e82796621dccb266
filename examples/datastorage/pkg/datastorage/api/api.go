// Package api is the HTTP interface of the audit store.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/health"
	"covtap.example/datastorage/pkg/datastorage/idempotency"
	"covtap.example/datastorage/pkg/datastorage/ident"
	"covtap.example/datastorage/pkg/datastorage/logging"
	"covtap.example/datastorage/pkg/datastorage/metrics"
	"covtap.example/datastorage/pkg/datastorage/middleware"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/retention"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

// Options are what the interface is made of.
type Options struct {
	Store       store.Store
	IDs         *ident.Generator
	Guard       *idempotency.Guard
	Engine      *retention.Engine
	Health      *health.Checker
	Metrics     *metrics.Registry
	Limits      validation.Limits
	MaxBatch    int
	MaxInFlight int
	MaxBody     int64
	Timeout     time.Duration
	Limiter     *middleware.RateLimiter
	Now         func() time.Time
}

// API serves the interface.
type API struct {
	Options
	events   *metrics.Counter
	rejected *metrics.Counter
	routes   *http.ServeMux
}

// New returns the handler of the whole interface.
func New(o Options) http.Handler {
	a := &API{
		Options:  o,
		events:   o.Metrics.Counter("datastorage_events_stored_total", "Events stored, by outcome.", "outcome"),
		rejected: o.Metrics.Counter("datastorage_events_rejected_total", "Events refused, by cause.", "cause"),
		routes:   http.NewServeMux(),
	}
	observed := middleware.NewObserved(o.Metrics)
	panics := o.Metrics.Counter("datastorage_panics_total", "Handlers that panicked.")
	limited := o.Metrics.Counter("datastorage_rate_limited_total", "Requests refused because their client sent too many.")

	a.routes.Handle("/healthz", methods{http.MethodGet: o.Health.Live})
	a.routes.Handle("/readyz", methods{http.MethodGet: o.Health.Ready})
	a.routes.Handle("/metrics", methods{http.MethodGet: a.metrics})
	a.routes.Handle("/version", methods{http.MethodGet: a.version})

	limits := []middleware.Middleware{
		o.Limiter.Limit(limited),
		middleware.MaxInFlight(o.MaxInFlight),
		middleware.MaxBody(o.MaxBody),
		middleware.Timeout(o.Timeout),
	}
	guarded := func(pattern string, m methods) {
		a.routes.Handle(pattern, middleware.Chain(m, limits...))
	}
	guarded("/api/v1/audit/events", methods{
		http.MethodGet:    a.list,
		http.MethodPost:   a.create,
		http.MethodDelete: a.purge,
	})
	guarded("/api/v1/audit/events/batch", methods{http.MethodPost: a.batch})
	guarded("/api/v1/audit/events/export", methods{http.MethodGet: a.export})
	guarded("/api/v1/audit/events/{id}", methods{http.MethodGet: a.get})
	guarded("/api/v1/audit/events/{id}/hold", methods{
		http.MethodPut:    a.hold,
		http.MethodDelete: a.release,
	})
	guarded("/api/v1/audit/stats", methods{http.MethodGet: a.stats})
	guarded("/api/v1/audit/streams/{stream}/verify", methods{http.MethodGet: a.verify})
	guarded("/api/v1/retention/policies", methods{http.MethodGet: a.listPolicies})
	guarded("/api/v1/retention/policies/{name}", methods{
		http.MethodGet:    a.getPolicy,
		http.MethodPut:    a.putPolicy,
		http.MethodDelete: a.deletePolicy,
	})
	guarded("/api/v1/retention/runs", methods{
		http.MethodGet:  a.listRuns,
		http.MethodPost: a.startRun,
	})
	guarded("/api/v1/retention/runs/{id}", methods{http.MethodGet: a.getRun})
	a.routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		middleware.Fail(w, r, problem.NotFound.New("no resource has the path %s", r.URL.Path))
	})

	return middleware.Chain(a.routes,
		middleware.RequestID(o.IDs),
		middleware.SecurityHeaders,
		observed.Observe(a.route),
		middleware.Recover(panics),
	)
}

// route names the pattern that serves a request.
func (a *API) route(r *http.Request) string {
	_, pattern := a.routes.Handler(r)
	if pattern == "/" {
		return "none"
	}
	return pattern
}

// methods dispatches on the method of a request. HEAD is served by GET.
type methods map[string]http.HandlerFunc

// ServeHTTP answers OPTIONS with the allowed methods and refuses all that is
// not in the map.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if handler, ok := m[method]; ok {
		handler(w, r)
		return
	}
	w.Header().Set("Allow", m.allowed())
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	middleware.Fail(w, r, problem.MethodNotAllowed.New("%s is not among the allowed methods: %s", r.Method, m.allowed()))
}

func (m methods) allowed() string {
	names := []string{http.MethodOptions}
	for name := range m {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// send writes a JSON response.
func (a *API) send(w http.ResponseWriter, r *http.Request, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		a.fail(w, r, fmt.Errorf("encode response: %w", err))
		return
	}
	a.sendRaw(w, r, status, append(raw, '\n'))
}

// sendRaw writes a response that is JSON already.
func (a *API) sendRaw(w http.ResponseWriter, r *http.Request, status int, raw []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(raw); err != nil {
		logging.From(r.Context()).Warn("could not send response", "error", err)
	}
}

// fail sends any error as a problem.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := toProblem(err)
	if p.Status >= http.StatusInternalServerError {
		logging.From(r.Context()).Error("request failed", "error", err)
	}
	middleware.Fail(w, r, p)
}

// toProblem finds the problem that describes an error to clients. What is not
// meant for them stays in the log.
func toProblem(err error) *problem.Problem {
	var p *problem.Problem
	var duplicate *store.DuplicateError
	var version *store.VersionError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &duplicate):
		return problem.Conflict.New("an event with the id %s exists already", duplicate.ID)
	case errors.As(err, &version):
		p = problem.VersionMismatch.New("the current version is %d", version.Current)
		p.Version = version.Current
		return p
	case errors.Is(err, store.ErrNotFound):
		return problem.NotFound.New("it does not exist or has been removed")
	case errors.Is(err, pagination.ErrCursor):
		return problem.InvalidCursor.New("%s", err)
	case errors.Is(err, retention.ErrBusy):
		p = problem.Unavailable.New("%s", err)
		p.RetryAfter = 5 * time.Second
		return p
	case errors.Is(err, idempotency.ErrInProgress):
		return problem.RequestInProgress.New("wait for the first request to end")
	case errors.Is(err, idempotency.ErrReused):
		return problem.IdempotencyReused.New("choose a new key for a new request")
	case errors.Is(err, context.DeadlineExceeded):
		return problem.Timeout.New("the request was given up")
	case errors.Is(err, store.ErrUnavailable):
		p = problem.Unavailable.New("the database cannot be used right now")
		p.RetryAfter = 2 * time.Second
		return p
	default:
		return problem.Internal.New("the request could not be completed")
	}
}

// etag is the entity tag of a version.
func etag(version int64) string {
	return `"` + strconv.FormatInt(version, 10) + `"`
}

// expectedVersion reads the If-Match header, which must be there: without it
// two people could overwrite each other's change.
func expectedVersion(r *http.Request) (int64, error) {
	value := strings.TrimSpace(r.Header.Get("If-Match"))
	switch {
	case value == "":
		return 0, problem.PreconditionRequired.New("send the ETag of the version that you saw, or *")
	case value == "*":
		return store.AnyVersion, nil
	}
	version, ok := parseTag(value)
	if !ok {
		return 0, problem.BadRequest.New("If-Match %s is not an entity tag of this service", value)
	}
	return version, nil
}

// parseTag reads one entity tag, weak or strong.
func parseTag(tag string) (int64, bool) {
	text, quoted := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
	text, closed := strings.CutSuffix(text, `"`)
	version, err := strconv.ParseInt(text, 10, 64)
	return version, quoted && closed && err == nil && version > 0
}

// notModified reports whether the client has this version already.
func notModified(r *http.Request, version int64) bool {
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimSpace(tag) == "*" {
			return true
		}
		if known, ok := parseTag(tag); ok && known == version {
			return true
		}
	}
	return false
}
