package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/store"
)

// batchRequest is the body of batch. Events stay undecoded at first, so that
// one malformed event does not spoil the others.
type batchRequest struct {
	Events []json.RawMessage `json:"events"`
}

// batchResult is the fate of one event of a batch.
type batchResult struct {
	Index   int              `json:"index"`
	Status  int              `json:"status"`
	ID      string           `json:"id,omitempty"`
	Problem *problem.Problem `json:"problem,omitempty"`
}

// batchResponse is the answer of batch.
type batchResponse struct {
	Stored   int           `json:"stored"`
	Rejected int           `json:"rejected"`
	Results  []batchResult `json:"results"`
}

// batch stores many events. Unless ?atomic=true asks for all or nothing, the
// valid ones are stored and the answer tells the fate of each.
func (a *API) batch(w http.ResponseWriter, r *http.Request) {
	atomic, err := atomicParameter(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	request, err := a.readBatch(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	results, events := a.acceptAll(request.Events)
	if atomic {
		a.batchAtomic(w, r, results, events)
		return
	}
	if err := a.storeEach(r.Context(), results, events); err != nil {
		a.fail(w, r, err)
		return
	}
	response := summarize(results)
	status := http.StatusMultiStatus
	switch {
	case response.Rejected == 0:
		status = http.StatusCreated
	case response.Stored == 0:
		status = http.StatusUnprocessableEntity
	}
	a.send(w, r, status, response)
}

func atomicParameter(r *http.Request) (bool, error) {
	text := r.URL.Query().Get("atomic")
	if text == "" {
		return false, nil
	}
	atomic, err := strconv.ParseBool(text)
	if err != nil {
		return false, problem.InvalidQuery.New("atomic must be true or false, not %q", text)
	}
	return atomic, nil
}

func (a *API) readBatch(r *http.Request) (batchRequest, error) {
	var request batchRequest
	body, err := readBody(r)
	if err != nil {
		return request, err
	}
	if err := decode(body, &request); err != nil {
		return request, err
	}
	switch n := len(request.Events); {
	case n == 0:
		return request, problem.ValidationFailed.WithErrors([]problem.FieldError{
			{Pointer: "/events", Code: "required", Detail: "must have at least one event"},
		})
	case n > a.MaxBatch:
		return request, problem.BodyTooLarge.New("the batch has %d events, at most %d are allowed", n, a.MaxBatch)
	}
	return request, nil
}

// acceptAll decodes and validates every event. The two results have the same
// length; an event is nil where its result is a problem.
func (a *API) acceptAll(raw []json.RawMessage) ([]batchResult, []*audit.Event) {
	results := make([]batchResult, len(raw))
	events := make([]*audit.Event, len(raw))
	seen := map[string]int{}
	for i, document := range raw {
		results[i].Index = i
		event, err := a.acceptRaw(document, fmt.Sprintf("/events/%d", i))
		if err == nil {
			if first, again := seen[event.ID]; again {
				err = problem.Conflict.New("event %d of the batch has the same id", first)
			}
		}
		if err != nil {
			results[i].reject(err)
			continue
		}
		seen[event.ID] = i
		events[i] = event
	}
	return results, events
}

func (a *API) acceptRaw(raw json.RawMessage, prefix string) (*audit.Event, error) {
	var draft audit.Draft
	if err := decode(raw, &draft); err != nil {
		return nil, err
	}
	return a.accept(draft, prefix)
}

// reject turns the result into a problem.
func (x *batchResult) reject(err error) {
	x.Problem = toProblem(err)
	x.Status = x.Problem.Status
}

// storeEach stores what can be stored. An event that exists already is a
// problem of its own; the others are tried again without it.
func (a *API) storeEach(ctx context.Context, results []batchResult, events []*audit.Event) error {
	for {
		pending := present(events)
		if len(pending) == 0 {
			return nil
		}
		err := a.Store.Append(ctx, pending)
		var duplicate *store.DuplicateError
		if errors.As(err, &duplicate) {
			if !dropEvent(results, events, duplicate) {
				return fmt.Errorf("store batch: %w", err)
			}
			a.rejected.Add(1, "duplicate")
			continue
		}
		if err != nil {
			return fmt.Errorf("store batch: %w", err)
		}
		a.stored(ctx, pending...)
		for i, e := range events {
			if e != nil {
				results[i].Status = http.StatusCreated
				results[i].ID = e.ID
			}
		}
		return nil
	}
}

// dropEvent takes the duplicate out of the batch.
func dropEvent(results []batchResult, events []*audit.Event, duplicate *store.DuplicateError) bool {
	for i, e := range events {
		if e != nil && e.ID == duplicate.ID {
			results[i].reject(duplicate)
			events[i] = nil
			return true
		}
	}
	return false
}

// batchAtomic stores all events or none.
func (a *API) batchAtomic(w http.ResponseWriter, r *http.Request, results []batchResult, events []*audit.Event) {
	var faults []problem.FieldError
	for i, result := range results {
		if result.Problem == nil {
			continue
		}
		if len(result.Problem.Errors) > 0 {
			faults = append(faults, result.Problem.Errors...)
			continue
		}
		faults = append(faults, problem.FieldError{
			Pointer: fmt.Sprintf("/events/%d", i), Code: "rejected", Detail: result.Problem.Error(),
		})
	}
	if faults != nil {
		a.fail(w, r, problem.ValidationFailed.WithErrors(faults))
		return
	}
	if err := a.Store.Append(r.Context(), events); err != nil {
		a.fail(w, r, err)
		return
	}
	a.stored(r.Context(), events...)
	for i, e := range events {
		results[i].Status = http.StatusCreated
		results[i].ID = e.ID
	}
	a.send(w, r, http.StatusCreated, summarize(results))
}

func present(events []*audit.Event) []*audit.Event {
	var out []*audit.Event
	for _, e := range events {
		if e != nil {
			out = append(out, e)
		}
	}
	return out
}

func summarize(results []batchResult) batchResponse {
	response := batchResponse{Results: results}
	for _, result := range results {
		if result.Problem == nil {
			response.Stored++
		} else {
			response.Rejected++
		}
	}
	return response
}
