package api

import (
	"fmt"
	"net/http"
	"slices"

	"covtap.example/datastorage/pkg/datastorage/logging"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/retention"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

const (
	policiesPath = "/api/v1/retention/policies"
	runsPath     = "/api/v1/retention/runs"
)

// purgeResponse is the answer of purge.
type purgeResponse struct {
	DryRun  bool  `json:"dry_run"`
	Matched int64 `json:"matched"`
	Held    int64 `json:"held"`
	Deleted int64 `json:"deleted"`
}

// purge removes the events that the filters select. It wants an upper bound
// on their time, so that nobody empties the store with a slip; events on hold
// stay.
func (a *API) purge(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	filter, faults := query.ParseFilter(values, "dry_run")
	if filter.OnHold != nil {
		faults = append(faults, problem.FieldError{Pointer: "?on_hold", Code: validation.CodeNotAllowed, Detail: "events on hold cannot be removed"})
	}
	if filter.To.IsZero() && !values.Has("to") {
		faults = append(faults, problem.FieldError{Pointer: "?to", Code: validation.CodeRequired, Detail: "must bound the time of the events to remove"})
	}
	if latest := a.Now(); filter.To.After(latest) {
		faults = append(faults, problem.FieldError{Pointer: "?to", Code: validation.CodeOutOfRange, Detail: "must not lie in the future"})
	}
	dryRun := values.Get("dry_run")
	if !slices.Contains([]string{"", "true", "false"}, dryRun) {
		faults = append(faults, problem.FieldError{Pointer: "?dry_run", Code: validation.CodeFormat, Detail: "must be true or false"})
	}
	if faults != nil {
		a.fail(w, r, problem.InvalidQuery.WithErrors(faults))
		return
	}
	response := purgeResponse{DryRun: dryRun == "true"}
	var err error
	if response.Matched, err = a.Store.Count(r.Context(), filter); err != nil {
		a.fail(w, r, fmt.Errorf("count events to remove: %w", err))
		return
	}
	held := filter
	onHold := true
	held.OnHold = &onHold
	if response.Held, err = a.Store.Count(r.Context(), held); err != nil {
		a.fail(w, r, fmt.Errorf("count held events: %w", err))
		return
	}
	if !response.DryRun {
		if response.Deleted, err = a.Engine.Purge(r.Context(), filter); err != nil {
			a.fail(w, r, err)
			return
		}
		logging.From(r.Context()).Info("events removed", "deleted", response.Deleted, "held", response.Held)
	}
	a.send(w, r, http.StatusOK, response)
}

func (a *API) listPolicies(w http.ResponseWriter, r *http.Request) {
	policies, err := a.Store.Policies(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.send(w, r, http.StatusOK, map[string]any{"items": append([]retention.Policy{}, policies...)})
}

func (a *API) getPolicy(w http.ResponseWriter, r *http.Request) {
	policy, err := a.Store.Policy(r.Context(), r.PathValue("name"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("ETag", etag(policy.Version))
	if notModified(r, policy.Version) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	a.send(w, r, http.StatusOK, policy)
}

// policyRequest is the part of a policy that clients decide.
type policyRequest struct {
	Description  string        `json:"description"`
	Enabled      *bool         `json:"enabled"`
	MaxAge       retention.Age `json:"max_age"`
	Streams      []string      `json:"streams"`
	ActionPrefix string        `json:"action_prefix"`
	Outcomes     []string      `json:"outcomes"`
}

// putPolicy creates a policy (If-None-Match: *) or replaces one (If-Match).
func (a *API) putPolicy(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if faults := validation.Name("/name", name); faults != nil {
		a.fail(w, r, problem.ValidationFailed.WithErrors(faults))
		return
	}
	var request policyRequest
	body, err := readBody(r)
	if err == nil {
		err = decode(body, &request)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	expected := store.NoVersion
	if r.Header.Get("If-None-Match") != "*" {
		if expected, err = expectedVersion(r); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	policy := retention.Policy{
		Name: name, Description: request.Description, Enabled: request.Enabled == nil || *request.Enabled,
		MaxAge: request.MaxAge, Streams: request.Streams, ActionPrefix: request.ActionPrefix,
		Outcomes: request.Outcomes, UpdatedAt: a.Now().UTC(),
	}
	if faults := policy.Check(); faults != nil {
		a.fail(w, r, problem.ValidationFailed.WithErrors(faults))
		return
	}
	saved, err := a.Store.PutPolicy(r.Context(), policy, expected)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	status := http.StatusOK
	if saved.Version == 1 {
		status = http.StatusCreated
		w.Header().Set("Location", policiesPath+"/"+name)
	}
	w.Header().Set("ETag", etag(saved.Version))
	a.send(w, r, status, saved)
}

func (a *API) deletePolicy(w http.ResponseWriter, r *http.Request) {
	expected, err := expectedVersion(r)
	if err == nil {
		err = a.Store.DeletePolicy(r.Context(), r.PathValue("name"), expected)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// runRequest is the body of startRun.
type runRequest struct {
	Policies []string `json:"policies"`
	DryRun   bool     `json:"dry_run"`
}

// startRun applies the named policies, or all.
func (a *API) startRun(w http.ResponseWriter, r *http.Request) {
	var request runRequest
	body, err := readBody(r)
	if err == nil {
		err = decode(body, &request)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	policies, err := a.selectPolicies(r, request.Policies)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	run, err := a.Engine.Apply(r.Context(), policies, request.DryRun, "request")
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Location", runsPath+"/"+run.ID)
	a.send(w, r, http.StatusCreated, run)
}

func (a *API) selectPolicies(r *http.Request, names []string) ([]retention.Policy, error) {
	all, err := a.Store.Policies(r.Context())
	if err != nil || len(names) == 0 {
		return all, err
	}
	var chosen []retention.Policy
	var faults []problem.FieldError
	for i, name := range names {
		at := slices.IndexFunc(all, func(p retention.Policy) bool { return p.Name == name })
		if at < 0 {
			faults = append(faults, problem.FieldError{
				Pointer: fmt.Sprintf("/policies/%d", i), Code: validation.CodeNotAllowed, Detail: fmt.Sprintf("there is no policy %q", name),
			})
			continue
		}
		chosen = append(chosen, all[at])
	}
	if faults != nil {
		return nil, problem.ValidationFailed.WithErrors(faults)
	}
	return chosen, nil
}

func (a *API) listRuns(w http.ResponseWriter, r *http.Request) {
	limit, err := pagination.ParseLimit(r.URL.Query().Get("limit"))
	if err != nil {
		a.fail(w, r, problem.InvalidQuery.New("limit %s", err))
		return
	}
	runs, err := a.Store.Runs(r.Context(), limit)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.send(w, r, http.StatusOK, map[string]any{"items": append([]retention.Run{}, runs...)})
}

func (a *API) getRun(w http.ResponseWriter, r *http.Request) {
	run, err := a.Store.Run(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.send(w, r, http.StatusOK, run)
}
