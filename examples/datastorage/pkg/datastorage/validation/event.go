package validation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/ident"
	"covtap.example/datastorage/pkg/datastorage/problem"
)

// Limits bound the size of one event and the times it may claim.
type Limits struct {
	MaxMessage   int           // characters
	MaxPayload   int           // bytes of JSON
	MaxLabels    int           // entries
	MaxPast      time.Duration // how old an event may be when it arrives
	MaxClockSkew time.Duration // how far a client's clock may run ahead
}

// DefaultLimits are the limits of a service without further configuration.
func DefaultLimits() Limits {
	return Limits{
		MaxMessage:   2000,
		MaxPayload:   16 << 10,
		MaxLabels:    16,
		MaxPast:      10 * 365 * 24 * time.Hour,
		MaxClockSkew: 5 * time.Minute,
	}
}

// Lengths of the short text members, in characters.
const (
	maxName       = 63
	maxIdentifier = 200
	maxAction     = 100
	maxLabelKey   = 63
	maxLabelValue = 200
	maxReason     = 500
)

// Draft checks a submitted event; now is the time of its arrival. Pointers in
// the result start with prefix.
func Draft(d audit.Draft, prefix string, now time.Time, limits Limits) []problem.FieldError {
	c := NewCollector(prefix)
	if d.ID != "" && !ident.Valid(d.ID) {
		c.Add("/id", CodeFormat, "must be a UUID in lower case")
	}
	if c.Text("/stream", d.Stream, true, maxName) {
		c.Match("/stream", d.Stream, nameRule, "lower-case words joined by hyphens")
	}
	if d.OccurredAt != nil {
		c.Between("/occurred_at", *d.OccurredAt, now.Add(-limits.MaxPast), now.Add(limits.MaxClockSkew))
	}
	checkActor(c, d.Actor)
	if c.Text("/action", d.Action, true, maxAction) {
		c.Match("/action", d.Action, actionRule, "a dotted verb such as order.created")
	}
	if c.Text("/resource/type", d.Resource.Type, true, maxName) {
		c.Match("/resource/type", d.Resource.Type, nameRule, "lower-case words joined by hyphens")
	}
	c.Text("/resource/id", d.Resource.ID, true, maxIdentifier)
	if c.Text("/resource/namespace", d.Resource.Namespace, false, maxName) {
		c.Match("/resource/namespace", d.Resource.Namespace, nameRule, "lower-case words joined by hyphens")
	}
	c.OneOf("/outcome", string(d.Outcome), true, audit.Outcomes())
	c.OneOf("/severity", string(d.Severity), false, audit.Severities())
	c.Text("/correlation_id", d.CorrelationID, false, maxIdentifier)
	c.Text("/message", d.Message, false, limits.MaxMessage)
	checkLabels(c, d.Labels, limits)
	checkPayload(c, d, limits)
	return c.Faults()
}

func checkActor(c *Collector, a audit.Actor) {
	c.OneOf("/actor/type", a.Type, true, audit.ActorTypes())
	anonymous := a.Type == "anonymous"
	c.Text("/actor/id", a.ID, !anonymous, maxIdentifier)
	if anonymous && a.ID != "" {
		c.Add("/actor/id", CodeNotAllowed, "must be empty for an anonymous actor")
	}
	c.Address("/actor/ip", a.IP)
}

func checkLabels(c *Collector, labels map[string]string, limits Limits) {
	if len(labels) > limits.MaxLabels {
		c.Add("/labels", CodeTooMany, "has %d entries, at most %d are allowed", len(labels), limits.MaxLabels)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pointer := "/labels/" + escapePointer(key)
		if len(key) > maxLabelKey || !labelRule.MatchString(key) {
			c.Add(pointer, CodePattern, "must have a key of at most %d lower-case letters, digits, dots, hyphens and underscores", maxLabelKey)
			continue
		}
		c.Text(pointer, labels[key], true, maxLabelValue)
	}
}

func checkPayload(c *Collector, d audit.Draft, limits Limits) {
	if len(d.Payload) == 0 {
		return
	}
	if len(d.Payload) > limits.MaxPayload {
		c.Add("/payload", CodeTooLong, "has %d bytes, at most %d are allowed", len(d.Payload), limits.MaxPayload)
		return
	}
	if first := strings.TrimSpace(string(d.Payload)); !strings.HasPrefix(first, "{") {
		c.Add("/payload", CodeFormat, "must be a JSON object")
	}
}

// HoldReason checks the reason for protecting an event from retention.
func HoldReason(reason string) []problem.FieldError {
	c := NewCollector("")
	c.Text("/reason", reason, true, maxReason)
	return c.Faults()
}

// Name checks a name such as that of a stream or a policy.
func Name(pointer, name string) []problem.FieldError {
	c := NewCollector("")
	if c.Text(pointer, name, true, maxName) {
		c.Match(pointer, name, nameRule, "lower-case words joined by hyphens")
	}
	return c.Faults()
}

// escapePointer escapes a key for use in a JSON pointer (RFC 6901).
func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
