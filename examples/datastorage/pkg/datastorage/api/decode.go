package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"covtap.example/datastorage/pkg/datastorage/problem"
)

// readBody reads a request body that claims to be JSON.
func readBody(r *http.Request) ([]byte, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, problem.UnsupportedMedia.New("send application/json, not %q", r.Header.Get("Content-Type"))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, problem.UnsupportedMedia.New("send UTF-8, not %s", charset)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, problem.UnsupportedMedia.New("content encoding %s is not supported", encoding)
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, problem.BodyTooLarge.New("the body has more than %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem.RequestTimeout.New("the body did not arrive in time")
	case err != nil:
		return nil, problem.BadRequest.New("the body could not be read to its end")
	case len(bytes.TrimSpace(body)) == 0:
		return nil, problem.MalformedJSON.New("the body is empty")
	}
	return body, nil
}

// decode reads exactly one JSON value without unknown members.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return problem.MalformedJSON.New("%s", explain(err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return problem.MalformedJSON.New("there is more after the JSON value, at byte %d", decoder.InputOffset())
	}
	return nil
}

// explain words a decoding error for the author of the document.
func explain(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("syntax error at byte %d: %s", syntax.Offset, syntax)
	case errors.As(err, &kind):
		return fmt.Sprintf("%s must not be %s", memberName(kind.Field), withArticle(kind.Value))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the document ends too early"
	default:
		return strings.TrimPrefix(err.Error(), "json: ")
	}
}

func memberName(field string) string {
	if field == "" {
		return "the document"
	}
	return field
}

// withArticle puts the article before the name of a JSON type.
func withArticle(kind string) string {
	if strings.HasPrefix(kind, "array") || strings.HasPrefix(kind, "object") {
		return "an " + kind
	}
	return "a " + kind
}
