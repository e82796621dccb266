package audit

import (
	"reflect"
	"testing"
	"time"
)

func sample() *Event {
	d := Draft{
		Stream: "orders", Actor: Actor{Type: "user", ID: "a"}, Action: "order.created",
		Resource: Resource{Type: "order", ID: "o"}, Outcome: OutcomeFailure, Labels: map[string]string{"a": "1", "b": "2"},
	}
	e := Accept(d, "id", time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC))
	e.Seal(1, Genesis)
	return e
}

func TestAcceptCutsToMicroseconds(t *testing.T) {
	if got := sample().RecordedAt.Nanosecond(); got != 123456000 {
		t.Errorf("got %d ns", got)
	}
}

func TestDigestCoversEveryImmutableField(t *testing.T) {
	reference := sample()
	changes := map[string]func(*Event){
		"id":            func(e *Event) { e.ID += "x" },
		"stream":        func(e *Event) { e.Stream += "x" },
		"sequence":      func(e *Event) { e.Sequence++ },
		"occurred":      func(e *Event) { e.OccurredAt = e.OccurredAt.Add(time.Microsecond) },
		"recorded":      func(e *Event) { e.RecordedAt = e.RecordedAt.Add(time.Microsecond) },
		"actor":         func(e *Event) { e.Actor.IP = "::1" },
		"moved border":  func(e *Event) { e.Actor.Type, e.Actor.ID = "use", "ra" },
		"namespace":     func(e *Event) { e.Resource.Namespace = "n" },
		"severity":      func(e *Event) { e.Severity = SeverityCritical },
		"message":       func(e *Event) { e.Message = "m" },
		"label value":   func(e *Event) { e.Labels["a"] = "3" },
		"label removed": func(e *Event) { delete(e.Labels, "b") },
		"payload":       func(e *Event) { e.Payload = []byte("{}") },
		"previous":      func(e *Event) { e.PrevHash = reference.Hash },
	}
	for name, change := range changes {
		e := sample()
		change(e)
		if e.Digest() == reference.Hash {
			t.Errorf("%s does not change the digest", name)
		}
	}
	e := sample()
	e.Hold, e.Version = Hold{true, "r"}, 9
	if e.Digest() != reference.Hash {
		t.Error("the mutable members change the digest")
	}
}

func TestAtLeast(t *testing.T) {
	if got := SeverityWarning.AtLeast(); !reflect.DeepEqual(got, []string{"warning", "critical"}) {
		t.Errorf("got %v", got)
	}
	if got := Severity("mild").AtLeast(); got != nil {
		t.Errorf("got %v for an unknown severity", got)
	}
}
