package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/buildinfo"
	"covtap.example/datastorage/pkg/datastorage/logging"
	"covtap.example/datastorage/pkg/datastorage/metrics"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

// maxDimensions bounds how finely statistics can be grouped.
const maxDimensions = 3

// intervals are the steps in time that statistics know.
var intervals = map[string]time.Duration{
	"":       0,
	"minute": time.Minute,
	"hour":   time.Hour,
	"day":    24 * time.Hour,
}

// statsResponse is the answer of stats.
type statsResponse struct {
	GroupBy  []string       `json:"group_by"`
	Interval string         `json:"interval,omitempty"`
	Total    int64          `json:"total"`
	Buckets  []store.Bucket `json:"buckets"`
}

// stats counts events in groups.
func (a *API) stats(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	filter, faults := query.ParseFilter(values, "group_by", "interval")
	groupBy, faults := dimensions(values.Get("group_by"), faults)
	interval, known := intervals[values.Get("interval")]
	if !known {
		faults = append(faults, problem.FieldError{Pointer: "?interval", Code: validation.CodeNotAllowed, Detail: "must be minute, hour or day"})
	}
	if faults != nil {
		a.fail(w, r, problem.InvalidQuery.WithErrors(faults))
		return
	}
	buckets, err := a.Store.Stats(r.Context(), filter, groupBy, interval)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	response := statsResponse{GroupBy: groupBy, Interval: values.Get("interval"), Buckets: append([]store.Bucket{}, buckets...)}
	for _, b := range buckets {
		response.Total += b.Count
	}
	a.send(w, r, http.StatusOK, response)
}

// dimensions reads a comma-separated list of what to group by.
func dimensions(text string, faults []problem.FieldError) ([]string, []problem.FieldError) {
	if text == "" {
		return []string{"outcome"}, faults
	}
	var groupBy []string
	for name := range strings.SplitSeq(text, ",") {
		switch {
		case !slices.Contains(store.Dimensions(), name):
			faults = append(faults, problem.FieldError{
				Pointer: "?group_by", Code: validation.CodeNotAllowed,
				Detail: "must be among " + strings.Join(store.Dimensions(), ", "),
			})
		case slices.Contains(groupBy, name):
			faults = append(faults, problem.FieldError{Pointer: "?group_by", Code: validation.CodeTooMany, Detail: "names " + name + " twice"})
		default:
			groupBy = append(groupBy, name)
		}
	}
	if len(groupBy) > maxDimensions {
		faults = append(faults, problem.FieldError{Pointer: "?group_by", Code: validation.CodeTooMany, Detail: "may name at most 3 dimensions"})
	}
	return groupBy, faults
}

func (a *API) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", metrics.ContentType)
	if r.Method == http.MethodHead {
		return
	}
	if err := a.Metrics.WriteText(w); err != nil {
		logging.From(r.Context()).Warn("could not send metrics", "error", err)
	}
}

func (a *API) version(w http.ResponseWriter, r *http.Request) {
	a.send(w, r, http.StatusOK, buildinfo.Read())
}
