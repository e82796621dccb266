package problem

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "r-1")
	w.Header().Set("ETag", `"1"`)
	p := Unavailable.New("try %s", "later")
	p.RetryAfter = 1500 * time.Millisecond
	if err := Write(w, httptest.NewRequest("GET", "/a?b=c", nil), p); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" || w.Header().Get("ETag") != "" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "urn:datastorage:problem:unavailable", "title": Unavailable.Title, "status": 503.0,
		"detail": "try later", "instance": "/a", "request_id": "r-1",
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

func TestHasKind(t *testing.T) {
	p := NotFound.New("nothing")
	if !p.HasKind(NotFound) || p.HasKind(Conflict) {
		t.Errorf("%v is of the wrong kind", p)
	}
	if p.Error() != "There is nothing at this address: nothing" {
		t.Errorf("got %q", p.Error())
	}
}

func TestWithErrorsCounts(t *testing.T) {
	if got := InvalidQuery.WithErrors(make([]FieldError, 1)).Detail; got != "1 problem found" {
		t.Errorf("got %q", got)
	}
}
