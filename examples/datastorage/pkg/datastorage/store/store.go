// Package store says what the service needs from a database. The packages
// below it implement it over SQLite and PostgreSQL.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/idempotency"
	"covtap.example/datastorage/pkg/datastorage/integrity"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/retention"
)

// ErrNotFound is returned for an object that does not exist.
var ErrNotFound = errors.New("not found")

// ErrUnavailable is wrapped when the database cannot answer for now and the
// same call may succeed later.
var ErrUnavailable = errors.New("database unavailable")

// DuplicateError says that an event with this id is already stored.
type DuplicateError struct {
	ID string
}

// Error names the event.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("event %s already exists", e.ID)
}

// VersionError says that an object is not at the version the caller expected.
type VersionError struct {
	Expected, Current int64
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("version is %d, not %d", e.Current, e.Expected)
}

// AnyVersion as an expected version matches every version, but the object
// must exist; NoVersion demands that it does not exist yet.
const (
	AnyVersion int64 = -1
	NoVersion  int64 = 0
)

// Bucket is one group of a statistic.
type Bucket struct {
	Key   map[string]string `json:"key"`
	Count int64             `json:"count"`
}

// Dimensions lists the members of an event that statistics can group by.
func Dimensions() []string {
	return []string{"stream", "actor_type", "actor", "action", "resource_type", "outcome", "severity"}
}

// Store keeps events, retention policies and their runs, and answers that
// were given to idempotent requests. All methods are safe for concurrent use.
type Store interface {
	// Append seals the events into their streams and stores all or none.
	Append(ctx context.Context, events []*audit.Event) error
	Get(ctx context.Context, id string) (*audit.Event, error)
	// List returns at most page.Limit+1 events; the extra one says that
	// another page follows.
	List(ctx context.Context, f query.Filter, page pagination.Page) ([]*audit.Event, error)
	Count(ctx context.Context, f query.Filter) (int64, error)
	Stats(ctx context.Context, f query.Filter, groupBy []string, interval time.Duration) ([]Bucket, error)
	SetHold(ctx context.Context, id string, expected int64, hold audit.Hold) (*audit.Event, error)

	integrity.Source
	retention.Store
	idempotency.Store

	Ping(ctx context.Context) error
	// Name is the kind of database, for logs and metrics.
	Name() string
	Close() error
}

// ByStream groups events by stream, streams in alphabetical order: every
// writer locks streams in the same order, so two writers cannot deadlock.
func ByStream(events []*audit.Event) [][]*audit.Event {
	groups := map[string][]*audit.Event{}
	for _, e := range events {
		groups[e.Stream] = append(groups[e.Stream], e)
	}
	out := make([][]*audit.Event, 0, len(groups))
	for _, group := range groups {
		out = append(out, group)
	}
	slices.SortFunc(out, func(a, b []*audit.Event) int {
		return strings.Compare(a[0].Stream, b[0].Stream)
	})
	return out
}

// CheckVersion compares versions as SetHold and the policy methods need it.
func CheckVersion(expected, current int64) error {
	switch {
	case expected == AnyVersion && current == NoVersion:
		return ErrNotFound
	case expected == AnyVersion || expected == current:
		return nil
	}
	return &VersionError{Expected: expected, Current: current}
}
