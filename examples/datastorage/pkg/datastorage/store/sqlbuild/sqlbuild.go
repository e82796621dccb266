// Package sqlbuild writes the SQL that both databases share: selections of
// events by filter and page. Values always travel as arguments.
package sqlbuild

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/integrity"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/store"
)

// Dialect is how the databases differ.
type Dialect struct {
	// Placeholder is the n-th argument, counted from 1.
	Placeholder func(n int) string
	// Label is the condition that a label has a value, both placeholders.
	Label func(key, value string) string
	// Like is the operator of a case-insensitive pattern match.
	Like string
}

// EventColumns are the columns of the table events in the order of EventValues
// and ScanEvent.
var EventColumns = []string{
	"id", "stream", "sequence", "occurred_at", "recorded_at",
	"actor_type", "actor_id", "actor_ip", "action",
	"resource_type", "resource_id", "namespace",
	"outcome", "severity", "correlation_id", "message",
	"labels", "payload", "prev_hash", "hash",
	"on_hold", "hold_reason", "version",
}

// columns maps the dimensions of statistics to columns.
var columns = map[string]string{
	"stream":        "stream",
	"actor_type":    "actor_type",
	"actor":         "actor_id",
	"action":        "action",
	"resource_type": "resource_type",
	"outcome":       "outcome",
	"severity":      "severity",
}

// Statement is SQL with its arguments.
type Statement struct {
	SQL  string
	Args []any
}

type builder struct {
	dialect    Dialect
	conditions []string
	args       []any
}

// arg adds an argument and returns its placeholder.
func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return b.dialect.Placeholder(len(b.args))
}

func (b *builder) where(format string, parts ...any) {
	b.conditions = append(b.conditions, fmt.Sprintf(format, parts...))
}

func (b *builder) equal(column, value string) {
	if value != "" {
		b.where("%s = %s", column, b.arg(value))
	}
}

func (b *builder) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	marks := make([]string, len(values))
	for i, v := range values {
		marks[i] = b.arg(v)
	}
	b.where("%s IN (%s)", column, strings.Join(marks, ", "))
}

func (b *builder) filter(f query.Filter) {
	b.in("stream", f.Streams)
	b.in("actor_type", f.ActorTypes)
	b.equal("actor_id", f.ActorID)
	b.in("action", f.Actions)
	if f.ActionPrefix != "" {
		b.where(`action LIKE %s ESCAPE '\'`, b.arg(escapeLike(f.ActionPrefix)+"%"))
	}
	b.equal("resource_type", f.ResourceType)
	b.equal("resource_id", f.ResourceID)
	b.equal("namespace", f.Namespace)
	b.in("outcome", f.Outcomes)
	b.in("severity", f.Severities)
	b.equal("correlation_id", f.CorrelationID)
	if f.Text != "" {
		mark := b.arg("%" + escapeLike(f.Text) + "%")
		b.where(`(message %[1]s %[2]s ESCAPE '\' OR resource_id %[1]s %[2]s ESCAPE '\')`, b.dialect.Like, mark)
	}
	for _, key := range slices.Sorted(maps.Keys(f.Labels)) {
		b.where("%s", b.dialect.Label(b.arg(key), b.arg(f.Labels[key])))
	}
	if !f.From.IsZero() {
		b.where("occurred_at >= %s", b.arg(f.From.UnixMicro()))
	}
	if !f.To.IsZero() {
		b.where("occurred_at < %s", b.arg(f.To.UnixMicro()))
	}
	if f.OnHold != nil {
		b.where("on_hold = %s", b.arg(*f.OnHold))
	}
}

func (b *builder) clause() string {
	if len(b.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(b.conditions, " AND ")
}

// List selects one page of events and one event more.
func (d Dialect) List(f query.Filter, page pagination.Page) Statement {
	b := &builder{dialect: d}
	b.filter(f)
	comparison, order := "<", "DESC"
	if page.Direction == pagination.OldestFirst {
		comparison, order = ">", "ASC"
	}
	if after := page.After; after != nil {
		b.where("(occurred_at, id) %s (%s, %s)", comparison, b.arg(after.At.UnixMicro()), b.arg(after.ID))
	}
	sql := fmt.Sprintf("SELECT %s FROM events%s ORDER BY occurred_at %s, id %s LIMIT %d",
		strings.Join(EventColumns, ", "), b.clause(), order, order, page.Limit+1)
	return Statement{sql, b.args}
}

// Count selects the number of matching events.
func (d Dialect) Count(f query.Filter) Statement {
	b := &builder{dialect: d}
	b.filter(f)
	return Statement{"SELECT COUNT(*) FROM events" + b.clause(), b.args}
}

// Oldest selects id, stream, sequence, prev_hash and hash of the oldest
// matching events.
func (d Dialect) Oldest(f query.Filter, limit int) Statement {
	b := &builder{dialect: d}
	b.filter(f)
	sql := fmt.Sprintf("SELECT id, stream, sequence, prev_hash, hash FROM events%s ORDER BY occurred_at, id LIMIT %d", b.clause(), limit)
	return Statement{sql, b.args}
}

// Stats counts matching events in groups, largest first. With an interval the
// first column is the start of the interval in microseconds, and groups are
// ordered by it.
func (d Dialect) Stats(f query.Filter, groupBy []string, interval time.Duration) Statement {
	b := &builder{dialect: d}
	b.filter(f)
	var keys []string
	order := "COUNT(*) DESC"
	if interval > 0 {
		keys = append(keys, fmt.Sprintf("(occurred_at / %[1]d) * %[1]d", interval.Microseconds()))
		order = "1, " + order
	}
	for _, dimension := range groupBy {
		keys = append(keys, columns[dimension])
	}
	positions := make([]string, len(keys))
	for i := range keys {
		positions[i] = fmt.Sprint(i + 1)
	}
	group := strings.Join(positions, ", ")
	sql := fmt.Sprintf("SELECT %s, COUNT(*) FROM events%s GROUP BY %s ORDER BY %s, %s LIMIT 1000",
		strings.Join(keys, ", "), b.clause(), group, order, group)
	return Statement{sql, b.args}
}

// Insert adds one event.
func (d Dialect) Insert() string {
	marks := make([]string, len(EventColumns))
	for i := range marks {
		marks[i] = d.Placeholder(i + 1)
	}
	return fmt.Sprintf("INSERT INTO events (%s) VALUES (%s)", strings.Join(EventColumns, ", "), strings.Join(marks, ", "))
}

// EventValues are the column values of an event.
func EventValues(e *audit.Event) ([]any, error) {
	labels, err := json.Marshal(e.Labels)
	if err != nil {
		return nil, fmt.Errorf("encode labels of event %s: %w", e.ID, err)
	}
	if e.Labels == nil {
		labels = []byte("{}")
	}
	var payload any
	if len(e.Payload) > 0 {
		payload = string(e.Payload)
	}
	return []any{
		e.ID, e.Stream, e.Sequence, e.OccurredAt.UnixMicro(), e.RecordedAt.UnixMicro(),
		e.Actor.Type, e.Actor.ID, e.Actor.IP, e.Action,
		e.Resource.Type, e.Resource.ID, e.Resource.Namespace,
		string(e.Outcome), string(e.Severity), e.CorrelationID, e.Message,
		string(labels), payload, e.PrevHash, e.Hash,
		e.Hold.Active, e.Hold.Reason, e.Version,
	}, nil
}

// Row is one row of a result, of whichever driver.
type Row interface {
	Scan(dest ...any) error
}

// ScanEvent reads a row of EventColumns.
func ScanEvent(row Row) (*audit.Event, error) {
	var (
		e                  audit.Event
		occurred, recorded int64
		labels, payload    []byte
	)
	err := row.Scan(
		&e.ID, &e.Stream, &e.Sequence, &occurred, &recorded,
		&e.Actor.Type, &e.Actor.ID, &e.Actor.IP, &e.Action,
		&e.Resource.Type, &e.Resource.ID, &e.Resource.Namespace,
		&e.Outcome, &e.Severity, &e.CorrelationID, &e.Message,
		&labels, &payload, &e.PrevHash, &e.Hash,
		&e.Hold.Active, &e.Hold.Reason, &e.Version,
	)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(labels, &e.Labels); err != nil {
		return nil, fmt.Errorf("decode labels of event %s: %w", e.ID, err)
	}
	if len(e.Labels) == 0 {
		e.Labels = nil
	}
	e.OccurredAt = time.UnixMicro(occurred).UTC()
	e.RecordedAt = time.UnixMicro(recorded).UTC()
	e.Payload = payload
	return &e, nil
}

// ScanBucket reads a row of Stats.
func ScanBucket(row Row, groupBy []string, interval time.Duration) (store.Bucket, error) {
	values := make([]string, len(groupBy))
	var start, count int64
	var dest []any
	if interval > 0 {
		dest = append(dest, &start)
	}
	for i := range values {
		dest = append(dest, &values[i])
	}
	if err := row.Scan(append(dest, &count)...); err != nil {
		return store.Bucket{}, err
	}
	key := make(map[string]string, len(dest))
	if interval > 0 {
		key["interval"] = time.UnixMicro(start).UTC().Format(time.RFC3339)
	}
	for i, dimension := range groupBy {
		key[dimension] = values[i]
	}
	return store.Bucket{Key: key, Count: count}, nil
}

// escapeLike makes a text match itself in a LIKE pattern with ESCAPE '\'.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// SelectEvent selects one event by its id, the only argument.
func SelectEvent(d Dialect) string {
	return fmt.Sprintf("SELECT %s FROM events WHERE id = %s", strings.Join(EventColumns, ", "), d.Placeholder(1))
}

// Doomed is what must be known of an event to remove it.
type Doomed struct {
	ID       string
	Stream   string
	Sequence int64
	PrevHash string
	Hash     string
}

// ScanDoomed reads a row of Oldest.
func ScanDoomed(row Row) (Doomed, error) {
	var d Doomed
	err := row.Scan(&d.ID, &d.Stream, &d.Sequence, &d.PrevHash, &d.Hash)
	return d, err
}

// Links selects the links of a stream: events and the tombstones between them.
func (d Dialect) Links(stream string, after int64, limit int) Statement {
	b := &builder{dialect: d}
	where := fmt.Sprintf("stream = %s AND sequence > %s", b.arg(stream), b.arg(after))
	sql := fmt.Sprintf(`SELECT sequence, prev_hash, hash, id FROM events WHERE %[1]s
		UNION ALL SELECT sequence, prev_hash, hash, '' FROM tombstones WHERE %[1]s
		ORDER BY 1 LIMIT %[2]d`, where, limit)
	return Statement{sql, b.args}
}

// ScanLink reads a row of Links. Of a remaining event only the id is filled in.
func ScanLink(row Row) (integrity.Link, error) {
	var link integrity.Link
	var id string
	if err := row.Scan(&link.Sequence, &link.PrevHash, &link.Hash, &id); err != nil {
		return link, err
	}
	if id != "" {
		link.Event = &audit.Event{ID: id}
	}
	return link, nil
}
