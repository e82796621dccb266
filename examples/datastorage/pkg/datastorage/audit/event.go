// Package audit holds the nouns of the audit store: events, who caused them,
// what they touched and how they ended. It performs no input or output.
package audit

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Outcome says how the audited action ended.
type Outcome string

// The outcomes that an event may carry.
const (
	OutcomeSuccess Outcome = "success"
	OutcomeFailure Outcome = "failure"
	OutcomeDenied  Outcome = "denied"
	OutcomePending Outcome = "pending"
)

// Outcomes lists every valid outcome in the order shown to users.
func Outcomes() []string {
	return []string{string(OutcomeSuccess), string(OutcomeFailure), string(OutcomeDenied), string(OutcomePending)}
}

// Severity ranks events by how much attention they deserve.
type Severity string

// The severities, from the least to the most urgent.
const (
	SeverityInfo     Severity = "info"
	SeverityNotice   Severity = "notice"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Severities lists every valid severity, least urgent first.
func Severities() []string {
	return []string{string(SeverityInfo), string(SeverityNotice), string(SeverityWarning), string(SeverityCritical)}
}

// Rank is the position of the severity in Severities, or -1 when it is unknown.
func (s Severity) Rank() int {
	return slices.Index(Severities(), string(s))
}

// AtLeast lists the severities that are at least as urgent as s.
func (s Severity) AtLeast() []string {
	rank := s.Rank()
	if rank < 0 {
		return nil
	}
	return Severities()[rank:]
}

// ActorTypes lists the kinds of actors that can cause an event.
func ActorTypes() []string {
	return []string{"user", "service", "system", "anonymous"}
}

// Actor is who caused the event.
type Actor struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	IP   string `json:"ip,omitempty"`
}

// Resource is what the event happened to.
type Resource struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	Namespace string `json:"namespace,omitempty"`
}

// Hold protects an event from retention until it is released.
type Hold struct {
	Active bool   `json:"active"`
	Reason string `json:"reason,omitempty"`
}

// Draft is an event as a client submits it, before the store has accepted it.
type Draft struct {
	ID            string            `json:"id,omitempty"`
	Stream        string            `json:"stream"`
	OccurredAt    *time.Time        `json:"occurred_at,omitempty"`
	Actor         Actor             `json:"actor"`
	Action        string            `json:"action"`
	Resource      Resource          `json:"resource"`
	Outcome       Outcome           `json:"outcome"`
	Severity      Severity          `json:"severity,omitempty"`
	CorrelationID string            `json:"correlation_id,omitempty"`
	Message       string            `json:"message,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Payload       json.RawMessage   `json:"payload,omitempty"`
}

// Event is an accepted audit event. Everything but Hold and Version is
// immutable and covered by Hash.
type Event struct {
	ID            string            `json:"id"`
	Stream        string            `json:"stream"`
	Sequence      int64             `json:"sequence"`
	OccurredAt    time.Time         `json:"occurred_at"`
	RecordedAt    time.Time         `json:"recorded_at"`
	Actor         Actor             `json:"actor"`
	Action        string            `json:"action"`
	Resource      Resource          `json:"resource"`
	Outcome       Outcome           `json:"outcome"`
	Severity      Severity          `json:"severity"`
	CorrelationID string            `json:"correlation_id,omitempty"`
	Message       string            `json:"message,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Payload       json.RawMessage   `json:"payload,omitempty"`
	PrevHash      string            `json:"prev_hash"`
	Hash          string            `json:"hash"`
	Hold          Hold              `json:"hold"`
	Version       int64             `json:"version"`
}

// Accept turns a validated draft into an event that is not yet part of a
// chain. Times are cut to microseconds, the precision every store keeps.
func Accept(d Draft, id string, now time.Time) *Event {
	recorded := now.UTC().Truncate(time.Microsecond)
	occurred := recorded
	if d.OccurredAt != nil {
		occurred = d.OccurredAt.UTC().Truncate(time.Microsecond)
	}
	severity := d.Severity
	if severity == "" {
		severity = DefaultSeverity(d.Outcome)
	}
	return &Event{
		ID:            id,
		Stream:        d.Stream,
		OccurredAt:    occurred,
		RecordedAt:    recorded,
		Actor:         d.Actor,
		Action:        d.Action,
		Resource:      d.Resource,
		Outcome:       d.Outcome,
		Severity:      severity,
		CorrelationID: d.CorrelationID,
		Message:       strings.TrimSpace(d.Message),
		Labels:        d.Labels,
		Payload:       d.Payload,
		Version:       1,
	}
}

// DefaultSeverity is the severity of an event whose client named none.
func DefaultSeverity(o Outcome) Severity {
	switch o {
	case OutcomeFailure:
		return SeverityWarning
	case OutcomeDenied:
		return SeverityNotice
	default:
		return SeverityInfo
	}
}
