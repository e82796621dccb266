package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/export"
	"covtap.example/datastorage/pkg/datastorage/idempotency"
	"covtap.example/datastorage/pkg/datastorage/integrity"
	"covtap.example/datastorage/pkg/datastorage/logging"
	"covtap.example/datastorage/pkg/datastorage/middleware"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

const eventsPath = "/api/v1/audit/events"

// accept validates a draft and makes an event of it.
func (a *API) accept(d audit.Draft, prefix string) (*audit.Event, error) {
	now := a.Now()
	if faults := validation.Draft(d, prefix, now, a.Limits); faults != nil {
		a.rejected.Add(1, "invalid")
		return nil, problem.ValidationFailed.WithErrors(faults)
	}
	id := d.ID
	if id == "" {
		fresh, err := a.IDs.New()
		if err != nil {
			return nil, err
		}
		id = fresh
	}
	if len(d.Payload) > 0 {
		var compact bytes.Buffer
		if err := json.Compact(&compact, d.Payload); err != nil {
			return nil, problem.MalformedJSON.New("payload: %s", err)
		}
		d.Payload = compact.Bytes()
	}
	return audit.Accept(d, id, now), nil
}

// create stores one event. With an Idempotency-Key it does so only once.
func (a *API) create(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		a.answer(w, r, a.createOne(r, body))
		return
	}
	if !idempotency.ValidKey(key) {
		a.fail(w, r, problem.BadRequest.New("Idempotency-Key must have 1 to %d visible characters", idempotency.MaxKey))
		return
	}
	fingerprint := idempotency.Fingerprint(r.Method, r.URL.RequestURI(), body)
	var first answer
	record, replayed, err := a.Guard.Do(r.Context(), middleware.Client(r), key, fingerprint, func() (idempotency.Record, bool) {
		first = a.createOne(r, body)
		// A refused request may be corrected and sent again with its key.
		return idempotency.Record{Status: first.status, Location: first.location, Body: first.body}, first.err == nil
	})
	switch {
	case err != nil:
		a.fail(w, r, err)
	case replayed:
		w.Header().Set("Idempotency-Replayed", "true")
		a.answer(w, r, answer{status: record.Status, location: record.Location, body: record.Body})
	default:
		a.answer(w, r, first)
	}
}

// answer is a response that has not been sent yet: either a problem or a body.
type answer struct {
	err      error
	status   int
	location string
	version  int64
	body     []byte
}

func (a *API) answer(w http.ResponseWriter, r *http.Request, x answer) {
	if x.err != nil {
		a.fail(w, r, x.err)
		return
	}
	if x.location != "" {
		w.Header().Set("Location", x.location)
	}
	if x.version > 0 {
		w.Header().Set("ETag", etag(x.version))
	}
	a.sendRaw(w, r, x.status, x.body)
}

func (a *API) createOne(r *http.Request, body []byte) answer {
	var draft audit.Draft
	if err := decode(body, &draft); err != nil {
		return answer{err: err}
	}
	event, err := a.accept(draft, "")
	if err != nil {
		return answer{err: err}
	}
	if err := a.Store.Append(r.Context(), []*audit.Event{event}); err != nil {
		a.rejected.Add(1, "store")
		return answer{err: err}
	}
	a.stored(r.Context(), event)
	raw, err := json.Marshal(event)
	if err != nil {
		return answer{err: fmt.Errorf("encode event %s: %w", event.ID, err)}
	}
	return answer{status: http.StatusCreated, location: eventsPath + "/" + event.ID, version: event.Version, body: append(raw, '\n')}
}

// stored counts and logs accepted events.
func (a *API) stored(ctx context.Context, events ...*audit.Event) {
	for _, e := range events {
		a.events.Add(1, string(e.Outcome))
		logging.From(ctx).Debug("event stored", "event", e.ID, "stream", e.Stream, "sequence", e.Sequence)
	}
}

// get returns one event, or 304 if the client has this version already.
func (a *API) get(w http.ResponseWriter, r *http.Request) {
	event, err := a.Store.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("ETag", etag(event.Version))
	w.Header().Set("Cache-Control", "private, no-cache")
	if notModified(r, event.Version) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	a.send(w, r, http.StatusOK, event)
}

// page is the response of list.
type page struct {
	Items      []*audit.Event `json:"items"`
	NextCursor string         `json:"next_cursor,omitempty"`
	Total      *int64         `json:"total,omitempty"`
}

// list returns a page of events.
func (a *API) list(w http.ResponseWriter, r *http.Request) {
	wanted, faults := query.Parse(r.URL.Query())
	if faults != nil {
		a.fail(w, r, problem.InvalidQuery.WithErrors(faults))
		return
	}
	if err := wanted.Resolve(); err != nil {
		a.fail(w, r, err)
		return
	}
	events, err := a.Store.List(r.Context(), wanted.Filter, wanted.Page)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := page{Items: []*audit.Event{}}
	if len(events) > wanted.Page.Limit {
		events = events[:wanted.Page.Limit]
		if out.NextCursor, err = nextCursor(events, wanted); err != nil {
			a.fail(w, r, err)
			return
		}
		w.Header().Set("Link", pagination.NextLink(r.URL, out.NextCursor))
	}
	out.Items = append(out.Items, events...)
	if wanted.Count {
		total, err := a.Store.Count(r.Context(), wanted.Filter)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		out.Total = &total
	}
	a.send(w, r, http.StatusOK, out)
}

func nextCursor(events []*audit.Event, wanted query.List) (string, error) {
	last := events[len(events)-1]
	fingerprint, err := wanted.Filter.Fingerprint()
	if err != nil {
		return "", err
	}
	return pagination.Cursor{
		At: last.OccurredAt, ID: last.ID, Direction: wanted.Page.Direction, Fingerprint: fingerprint,
	}.Encode()
}

// holdRequest is the body of hold.
type holdRequest struct {
	Reason string `json:"reason"`
}

// hold protects an event from retention.
func (a *API) hold(w http.ResponseWriter, r *http.Request) {
	var request holdRequest
	body, err := readBody(r)
	if err == nil {
		err = decode(body, &request)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if faults := validation.HoldReason(request.Reason); faults != nil {
		a.fail(w, r, problem.ValidationFailed.WithErrors(faults))
		return
	}
	a.setHold(w, r, audit.Hold{Active: true, Reason: request.Reason})
}

// release ends the protection of an event.
func (a *API) release(w http.ResponseWriter, r *http.Request) {
	a.setHold(w, r, audit.Hold{})
}

func (a *API) setHold(w http.ResponseWriter, r *http.Request, hold audit.Hold) {
	expected, err := expectedVersion(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	event, err := a.Store.SetHold(r.Context(), r.PathValue("id"), expected, hold)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	logging.From(r.Context()).Info("hold changed", "event", event.ID, "active", hold.Active)
	w.Header().Set("ETag", etag(event.Version))
	a.send(w, r, http.StatusOK, event)
}

// export streams all events that the parameters select.
func (a *API) export(w http.ResponseWriter, r *http.Request) {
	filter, faults := query.ParseFilter(r.URL.Query())
	if faults != nil {
		a.fail(w, r, problem.InvalidQuery.WithErrors(faults))
		return
	}
	media, ok := export.Negotiate(r.Header.Get("Accept"))
	if !ok {
		a.fail(w, r, problem.NotAcceptable.New("available are %s and %s", export.TypeNDJSON, export.TypeCSV))
		return
	}
	encoder := export.NewEncoder(media, w)
	w.Header().Set("Content-Type", encoder.ContentType())
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Trailer", "X-Event-Count")
	if r.Method == http.MethodHead {
		return
	}
	count, err := export.All(r.Context(), a.Store, filter, encoder)
	if err != nil {
		// The status is sent already; only a broken connection tells the
		// client that the export is not complete.
		logging.From(r.Context()).Error("export broke off", "events", count, "error", err)
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Event-Count", fmt.Sprint(count))
}

// verify follows the hash chain of a stream.
func (a *API) verify(w http.ResponseWriter, r *http.Request) {
	stream := r.PathValue("stream")
	if faults := validation.Name("/stream", stream); faults != nil {
		a.fail(w, r, problem.ValidationFailed.WithErrors(faults))
		return
	}
	report, err := integrity.Verify(r.Context(), a.Store, stream)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if report.Links == 0 && report.Valid {
		a.fail(w, r, problem.NotFound.New("no event was ever stored in stream %s", stream))
		return
	}
	if !report.Valid {
		logging.From(r.Context()).Error("chain is broken", "stream", stream, "sequence", report.Break.Sequence, "reason", report.Break.Reason)
	}
	a.send(w, r, http.StatusOK, report)
}
