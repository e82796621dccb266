// Package export writes long lists of events for other programs, one at a
// time, so that an export needs no more memory than a page.
package export

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/query"
)

// Media types of exports.
const (
	TypeNDJSON = "application/x-ndjson"
	TypeCSV    = "text/csv"
)

// pageSize is how many events are read from the store at once.
const pageSize = 200

// Lister is the store as exports see it.
type Lister interface {
	List(ctx context.Context, f query.Filter, page pagination.Page) ([]*audit.Event, error)
}

// Encoder writes events in one format.
type Encoder interface {
	ContentType() string
	Encode(e *audit.Event) error
	Flush() error
}

// Negotiate picks the media type for an Accept header: NDJSON unless the
// client prefers CSV. The second result is false if it accepts neither.
func Negotiate(accept string) (string, bool) {
	if strings.TrimSpace(accept) == "" {
		return TypeNDJSON, true
	}
	best, weight := "", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		offer := map[string]string{
			TypeNDJSON: TypeNDJSON, "application/*": TypeNDJSON, "*/*": TypeNDJSON,
			TypeCSV: TypeCSV, "text/*": TypeCSV,
		}[media]
		if offer != "" && q > weight {
			best, weight = offer, q
		}
	}
	return best, best != ""
}

// NewEncoder returns the encoder of a media type that Negotiate returned.
func NewEncoder(mediaType string, w io.Writer) Encoder {
	if mediaType == TypeCSV {
		return &csvEncoder{w: csv.NewWriter(w)}
	}
	return &ndjsonEncoder{json.NewEncoder(w)}
}

// All writes every event that the filter selects, oldest first, and returns
// how many it wrote.
func All(ctx context.Context, source Lister, f query.Filter, enc Encoder) (int64, error) {
	page := pagination.Page{Limit: pageSize, Direction: pagination.OldestFirst}
	var count int64
	for {
		events, err := source.List(ctx, f, page)
		if err != nil {
			return count, fmt.Errorf("read events to export: %w", err)
		}
		more := len(events) > pageSize
		if more {
			events = events[:pageSize]
		}
		for _, e := range events {
			if err := enc.Encode(e); err != nil {
				return count, fmt.Errorf("write event %s: %w", e.ID, err)
			}
			count++
		}
		if err := enc.Flush(); err != nil {
			return count, fmt.Errorf("send exported events: %w", err)
		}
		if !more {
			return count, nil
		}
		last := events[len(events)-1]
		page.After = &pagination.Cursor{At: last.OccurredAt, ID: last.ID, Direction: page.Direction}
	}
}

type ndjsonEncoder struct {
	json *json.Encoder
}

func (e *ndjsonEncoder) ContentType() string             { return TypeNDJSON }
func (e *ndjsonEncoder) Encode(event *audit.Event) error { return e.json.Encode(event) }
func (e *ndjsonEncoder) Flush() error                    { return nil }

type csvEncoder struct {
	w       *csv.Writer
	started bool
}

// header names the columns of a CSV export.
var header = []string{
	"id", "stream", "sequence", "occurred_at", "actor_type", "actor_id", "action",
	"resource_type", "resource_id", "namespace", "outcome", "severity",
	"correlation_id", "message", "labels", "hash",
}

func (e *csvEncoder) ContentType() string { return TypeCSV + "; charset=utf-8; header=present" }

func (e *csvEncoder) Encode(ev *audit.Event) error {
	if err := e.start(); err != nil {
		return err
	}
	return e.w.Write([]string{
		ev.ID, ev.Stream, strconv.FormatInt(ev.Sequence, 10), ev.OccurredAt.Format(time.RFC3339Nano),
		ev.Actor.Type, harmless(ev.Actor.ID), ev.Action,
		ev.Resource.Type, harmless(ev.Resource.ID), ev.Resource.Namespace,
		string(ev.Outcome), string(ev.Severity),
		harmless(ev.CorrelationID), harmless(ev.Message), harmless(labelList(ev.Labels)), ev.Hash,
	})
}

// Flush writes the header even if there was no event.
func (e *csvEncoder) Flush() error {
	if err := e.start(); err != nil {
		return err
	}
	e.w.Flush()
	return e.w.Error()
}

func (e *csvEncoder) start() error {
	if e.started {
		return nil
	}
	e.started = true
	return e.w.Write(header)
}

func labelList(labels map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, key+"="+labels[key])
	}
	return strings.Join(parts, ";")
}

// harmless keeps spreadsheets from taking a text for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
