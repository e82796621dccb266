package validation

import (
	"strings"
	"testing"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func valid() audit.Draft {
	return audit.Draft{
		Stream:   "orders",
		Actor:    audit.Actor{Type: "user", ID: "amelie"},
		Action:   "order.created",
		Resource: audit.Resource{Type: "order", ID: "o-1"},
		Outcome:  audit.OutcomeSuccess,
	}
}

func TestDraft(t *testing.T) {
	at := func(d time.Duration) *time.Time {
		moment := now.Add(d)
		return &moment
	}
	cases := map[string]struct {
		change func(*audit.Draft)
		want   string // pointer and code of the only fault, or empty
	}{
		"valid":                   {func(*audit.Draft) {}, ""},
		"invalid UTF-8":           {func(d *audit.Draft) { d.Message = "\xff" }, "/message format"},
		"tab and line feed":       {func(d *audit.Draft) { d.Message = "a\tb\nc" }, ""},
		"zero byte":               {func(d *audit.Draft) { d.Resource.ID = "a\x00" }, "/resource/id pattern"},
		"skew at the limit":       {func(d *audit.Draft) { d.OccurredAt = at(5 * time.Minute) }, ""},
		"skew beyond the limit":   {func(d *audit.Draft) { d.OccurredAt = at(5*time.Minute + 1) }, "/occurred_at out_of_range"},
		"age beyond the limit":    {func(d *audit.Draft) { d.OccurredAt = at(-DefaultLimits().MaxPast - 1) }, "/occurred_at out_of_range"},
		"stream of 63 characters": {func(d *audit.Draft) { d.Stream = strings.Repeat("s", 63) }, ""},
		"stream with two hyphens": {func(d *audit.Draft) { d.Stream = "a--b" }, "/stream pattern"},
		"IPv4 in IPv6":            {func(d *audit.Draft) { d.Actor.IP = "::ffff:10.0.0.1" }, ""},
		"label with tilde":        {func(d *audit.Draft) { d.Labels = map[string]string{"a~b": "x"} }, "/labels/a~0b pattern"},
		"payload of 16 KiB":       {func(d *audit.Draft) { d.Payload = []byte(`{"` + strings.Repeat("x", 16<<10-6) + `":1}`)[:16<<10] }, ""},
		"payload text":            {func(d *audit.Draft) { d.Payload = []byte(`"text"`) }, "/payload format"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := valid()
			tc.change(&d)
			faults := Draft(d, "", now, DefaultLimits())
			var got []string
			for _, f := range faults {
				got = append(got, f.Pointer+" "+f.Code)
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPointersStartWithThePrefix(t *testing.T) {
	d := valid()
	d.Outcome = "lost"
	faults := Draft(d, "/events/3", now, DefaultLimits())
	if len(faults) != 1 || faults[0].Pointer != "/events/3/outcome" {
		t.Errorf("got %+v", faults)
	}
}
