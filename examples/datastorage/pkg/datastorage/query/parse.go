package query

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

// labelPrefix starts the name of a parameter that filters by one label.
const labelPrefix = "label."

// maxValue bounds every parameter value, in characters.
const maxValue = 200

// minText is the shortest text search, in bytes; shorter ones match nearly all.
const minText = 3

// List is everything a client can say about a list of events.
type List struct {
	Filter Filter
	Page   pagination.Page
	Count  bool   // also count all matching events
	Cursor string // undecoded; it is checked against the filter by Resolve
}

// parser reads parameters one by one and remembers which it has seen.
type parser struct {
	values url.Values
	seen   map[string]bool
	faults *validation.Collector
}

// Parse reads the parameters of a list. Every fault is reported, also unknown
// parameters: a misspelt filter must not return everything.
func Parse(values url.Values) (List, []problem.FieldError) {
	p := newParser(values)
	list := List{Filter: p.filter()}
	list.Page = p.page()
	list.Cursor = p.one("cursor", 4*maxValue)
	list.Count = p.boolean("count")
	p.unknown()
	return list, p.faults.Faults()
}

// ParseFilter reads filters only, and the extra parameters that the caller
// handles itself.
func ParseFilter(values url.Values, extra ...string) (Filter, []problem.FieldError) {
	p := newParser(values)
	for _, name := range extra {
		p.seen[name] = true
	}
	f := p.filter()
	p.unknown()
	return f, p.faults.Faults()
}

// Resolve decodes the cursor, which only the parsed filter can vouch for.
func (l *List) Resolve() error {
	if l.Cursor == "" {
		return nil
	}
	fingerprint, err := l.Filter.Fingerprint()
	if err != nil {
		return err
	}
	l.Page.After, err = pagination.Decode(l.Cursor, l.Page.Direction, fingerprint)
	return err
}

func newParser(values url.Values) *parser {
	return &parser{values: values, seen: map[string]bool{}, faults: validation.NewCollector("")}
}

func (p *parser) filter() Filter {
	f := Filter{
		Streams:       p.many("stream", nil),
		ActorTypes:    p.many("actor_type", audit.ActorTypes()),
		ActorID:       p.one("actor", maxValue),
		ResourceType:  p.one("resource_type", maxValue),
		ResourceID:    p.one("resource_id", maxValue),
		Namespace:     p.one("namespace", maxValue),
		Outcomes:      p.many("outcome", audit.Outcomes()),
		CorrelationID: p.one("correlation_id", maxValue),
		Text:          p.one("q", maxValue),
		From:          p.moment("from"),
		To:            p.moment("to"),
		OnHold:        p.optionalBoolean("on_hold"),
		Labels:        p.labels(),
	}
	f.Actions, f.ActionPrefix = p.actions()
	f.Severities = p.severities()
	if f.Text != "" && len(f.Text) < minText {
		p.fault("q", validation.CodeOutOfRange, "must have at least %d characters", minText)
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		p.fault("to", validation.CodeOutOfRange, "must be later than from")
	}
	return f
}

func (p *parser) page() pagination.Page {
	page := pagination.Page{Direction: pagination.NewestFirst}
	limit, err := pagination.ParseLimit(p.one("limit", maxValue))
	if err != nil {
		p.fault("limit", validation.CodeOutOfRange, "%s", err)
	}
	page.Limit = limit
	switch order := p.one("order", maxValue); order {
	case "", string(pagination.NewestFirst):
	case string(pagination.OldestFirst):
		page.Direction = pagination.OldestFirst
	default:
		p.fault("order", validation.CodeNotAllowed, "must be asc or desc")
	}
	return page
}

// actions reads exact actions, or one prefix such as "order.*".
func (p *parser) actions() ([]string, string) {
	values := p.many("action", nil)
	for _, v := range values {
		prefix, found := strings.CutSuffix(v, "*")
		if !found {
			continue
		}
		if len(values) > 1 {
			p.fault("action", validation.CodeNotAllowed, "cannot mix a prefix with other actions")
			return nil, ""
		}
		if !strings.HasSuffix(prefix, ".") || strings.Contains(prefix, "*") {
			p.fault("action", validation.CodePattern, "a prefix must end with .*")
			return nil, ""
		}
		return nil, prefix
	}
	return values, ""
}

// severities reads exact severities, or a lower bound.
func (p *parser) severities() []string {
	exact := p.many("severity", audit.Severities())
	least := p.one("min_severity", maxValue)
	if least == "" {
		return exact
	}
	if len(exact) > 0 {
		p.fault("min_severity", validation.CodeNotAllowed, "cannot be combined with severity")
		return nil
	}
	allowed := audit.Severity(least).AtLeast()
	if allowed == nil {
		p.fault("min_severity", validation.CodeNotAllowed, "must be one of %s", strings.Join(audit.Severities(), ", "))
	}
	return allowed
}

func (p *parser) labels() map[string]string {
	var labels map[string]string
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		key, found := strings.CutPrefix(name, labelPrefix)
		if !found {
			continue
		}
		value := p.one(name, maxValue)
		if key == "" || value == "" {
			p.fault(name, validation.CodeRequired, "needs a label name and a value")
			continue
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	return labels
}

// one reads a parameter that may be given once.
func (p *parser) one(name string, max int) string {
	p.seen[name] = true
	values := p.values[name]
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		p.fault(name, validation.CodeTooMany, "may be given only once")
		return ""
	}
	if !p.faults.Text(pointer(name), values[0], false, max) {
		return ""
	}
	return values[0]
}

// many reads a parameter that may be repeated or hold a comma-separated list.
func (p *parser) many(name string, allowed []string) []string {
	p.seen[name] = true
	var out []string
	for _, value := range p.values[name] {
		for part := range strings.SplitSeq(value, ",") {
			part = strings.TrimSpace(part)
			if !p.faults.Text(pointer(name), part, true, maxValue) {
				continue
			}
			if allowed != nil && !slices.Contains(allowed, part) {
				p.fault(name, validation.CodeNotAllowed, "%q is not one of %s", part, strings.Join(allowed, ", "))
				continue
			}
			out = append(out, part)
		}
	}
	return out
}

func (p *parser) moment(name string) time.Time {
	text := p.one(name, maxValue)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		p.fault(name, validation.CodeFormat, "must be a time such as 2026-01-31T12:00:00Z")
		return time.Time{}
	}
	return t.UTC()
}

func (p *parser) boolean(name string) bool {
	value := p.optionalBoolean(name)
	return value != nil && *value
}

func (p *parser) optionalBoolean(name string) *bool {
	text := p.one(name, maxValue)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		p.fault(name, validation.CodeFormat, "must be true or false")
		return nil
	}
	return &value
}

func (p *parser) unknown() {
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		if !p.seen[name] {
			p.fault(name, validation.CodeNotAllowed, "is not a known parameter")
		}
	}
}

func (p *parser) fault(name, code, format string, args ...any) {
	p.faults.Add(pointer(name), code, format, args...)
}

// pointer names a query parameter in a fault.
func pointer(name string) string {
	return "?" + name
}
