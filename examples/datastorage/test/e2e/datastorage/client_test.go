package datastorage_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	eventsPath   = "/api/v1/audit/events"
	batchPath    = "/api/v1/audit/events/batch"
	exportPath   = "/api/v1/audit/events/export"
	statsPath    = "/api/v1/audit/stats"
	policiesPath = "/api/v1/retention/policies"
	runsPath     = "/api/v1/retention/runs"
)

// object is a JSON object.
type object = map[string]any

// client sends requests under a client id of its own, so that specs do not
// use up each other's rate limit.
type client struct {
	id   string
	http *http.Client
}

func newClient() *client {
	return &client{id: unique("client"), http: &http.Client{Timeout: 30 * time.Second}}
}

// unique returns a name that no other spec and no earlier run uses.
func unique(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:12])
}

// answer is a response with its whole body.
type answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    []byte
}

// JSON decodes the body as an object.
func (a answer) JSON() object {
	GinkgoHelper()
	var out object
	Expect(json.Unmarshal(a.Body, &out)).To(Succeed(), "body: %s", a.Body)
	return out
}

// Items returns the member "items" of the body.
func (a answer) Items() []object {
	GinkgoHelper()
	return objects(a.JSON()["items"])
}

func objects(list any) []object {
	GinkgoHelper()
	Expect(list).To(BeAssignableToTypeOf([]any{}))
	var out []object
	for _, item := range list.([]any) {
		out = append(out, item.(object))
	}
	return out
}

// header is one header of a request.
type header struct{ name, value string }

// do sends a request. A body that is not bytes or a reader is sent as JSON.
func (c *client) do(method, target string, body any, headers ...header) answer {
	GinkgoHelper()
	a, err := c.try(method, target, body, headers...)
	Expect(err).NotTo(HaveOccurred())
	return a
}

// try is do for other goroutines than the spec's own.
func (c *client) try(method, target string, body any, headers ...header) (answer, error) {
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader, contentType = b, "application/json"
	case []byte:
		reader, contentType = bytes.NewReader(b), "application/json"
	case string:
		reader, contentType = strings.NewReader(b), "application/json"
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		reader, contentType = bytes.NewReader(raw), "application/json"
	}
	request, err := http.NewRequest(method, *baseURL.Load()+target, reader)
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("X-Client-Id", c.id)
	for _, h := range headers {
		request.Header.Set(h.name, h.value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, response.Header, response.Trailer, raw}, response.Body.Close()
}

func (c *client) get(target string, headers ...header) answer {
	GinkgoHelper()
	return c.do(http.MethodGet, target, nil, headers...)
}

func (c *client) post(target string, body any, headers ...header) answer {
	GinkgoHelper()
	return c.do(http.MethodPost, target, body, headers...)
}

// create stores an event and returns it.
func (c *client) create(event object) object {
	GinkgoHelper()
	a := c.post(eventsPath, event)
	Expect(a.Status).To(Equal(http.StatusCreated), "body: %s", a.Body)
	return a.JSON()
}

// createAll stores events in one batch.
func (c *client) createAll(events ...object) {
	GinkgoHelper()
	a := c.post(batchPath, object{"events": events})
	Expect(a.Status).To(Equal(http.StatusCreated), "body: %s", a.Body)
}

// list returns the events that a query selects in a stream.
func (c *client) list(stream, query string) []object {
	GinkgoHelper()
	a := c.get(eventsPath + "?stream=" + stream + "&" + query)
	Expect(a.Status).To(Equal(http.StatusOK), "body: %s", a.Body)
	return a.Items()
}

// event returns a valid event with changes: alternating dotted paths and values.
func event(stream string, changes ...any) object {
	e := object{
		"stream":   stream,
		"actor":    object{"type": "user", "id": "amelie"},
		"action":   "order.created",
		"resource": object{"type": "order", "id": "o-1"},
		"outcome":  "success",
	}
	for i := 0; i+1 < len(changes); i += 2 {
		at := e
		path := strings.Split(changes[i].(string), ".")
		for _, step := range path[:len(path)-1] {
			next, ok := at[step].(object)
			if !ok {
				next = object{}
				at[step] = next
			}
			at = next
		}
		at[path[len(path)-1]] = changes[i+1]
	}
	return e
}

// ago is a moment before now, as the API writes times.
func ago(d time.Duration) string {
	return time.Now().Add(-d).UTC().Format(time.RFC3339Nano)
}

// query encodes alternating names and values.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// resourceIDs returns the resource ids of events, in order.
func resourceIDs(events []object) []string {
	ids := []string{}
	for _, e := range events {
		ids = append(ids, e["resource"].(object)["id"].(string))
	}
	return ids
}

// path is the address of an event.
func path(e object) string {
	return fmt.Sprintf("%s/%s", eventsPath, e["id"])
}

// beProblem expects a problem of a kind.
func beProblem(a answer, status int, kind string) object {
	GinkgoHelper()
	Expect(a.Status).To(Equal(status), "body: %s", a.Body)
	Expect(a.Header.Get("Content-Type")).To(Equal("application/problem+json"))
	p := a.JSON()
	Expect(p["type"]).To(Equal("urn:datastorage:problem:" + kind))
	Expect(p["status"]).To(BeEquivalentTo(status))
	return p
}

// faults returns the pointers and codes of a problem's field errors.
func faults(p object) []string {
	GinkgoHelper()
	var out []string
	for _, f := range objects(p["errors"]) {
		out = append(out, fmt.Sprintf("%s %s", f["pointer"], f["code"]))
	}
	return out
}
