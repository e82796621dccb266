package retention

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"covtap.example/datastorage/pkg/datastorage/query"
)

func TestAge(t *testing.T) {
	cases := map[string]struct {
		want time.Duration
		text string
	}{
		"P1W":      {7 * day, "P7D"},
		"P1DT1H":   {25 * time.Hour, "P1DT1H"},
		"PT90S":    {90 * time.Second, "PT1M30S"},
		"720h":     {30 * day, "P30D"},
		"PT0S":     {0, "PT0S"},
		"1h1m1.5s": {time.Hour + time.Minute + 1500*time.Millisecond, "PT1H1M1S"},
	}
	for text, tc := range cases {
		got, err := ParseAge(text)
		if err != nil || time.Duration(got) != tc.want || got.String() != tc.text {
			t.Errorf("ParseAge(%q) = %v (%s), %v", text, time.Duration(got), got, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1Y", "P1M", "P1DT", "1 day", "P99999999999D", "-P1D"} {
		if got, err := ParseAge(text); err == nil {
			t.Errorf("ParseAge(%q) = %s, want an error", text, got)
		}
	}
}

func TestAgeInJSON(t *testing.T) {
	var p Policy
	if err := json.Unmarshal([]byte(`{"max_age":"P2W"}`), &p); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(p.MaxAge)
	if err != nil || string(raw) != `"P14D"` {
		t.Errorf("got %s, %v", raw, err)
	}
	if err := json.Unmarshal([]byte(`{"max_age":7}`), &p); err == nil {
		t.Error("a number is no age")
	}
}

// fake is a store that holds a number of events.
type fake struct {
	Store
	free, held int64
	calls      int
	fail       error
	saved      []Run
}

func (f *fake) Count(_ context.Context, q query.Filter) (int64, error) {
	if q.OnHold != nil && *q.OnHold {
		return f.held, nil
	}
	return f.free + f.held, nil
}

func (f *fake) Purge(_ context.Context, q query.Filter, limit int) (int64, error) {
	f.calls++
	if q.OnHold == nil || *q.OnHold {
		return 0, errors.New("purge must spare events on hold")
	}
	if f.fail != nil && f.calls > 1 {
		return 0, f.fail
	}
	n := min(f.free, int64(limit))
	f.free -= n
	return n, nil
}

func (f *fake) SaveRun(_ context.Context, r Run) error {
	f.saved = append(f.saved, r)
	return nil
}

func newEngine(f *fake) (*Engine, *int64) {
	var told int64
	ids := func() (string, error) { return "run", nil }
	clock := func() time.Time { return time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC) }
	return NewEngine(f, ids, clock, slog.New(slog.NewTextHandler(io.Discard, nil)), func(n int64) { told += n }), &told
}

func TestApplyWorksInBatches(t *testing.T) {
	f := &fake{free: 1200, held: 3}
	e, told := newEngine(f)
	run, err := e.Apply(context.Background(), []Policy{{Name: "p", Enabled: true, MaxAge: Age(day)}}, false, "test")
	if err != nil {
		t.Fatal(err)
	}
	r := run.Results[0]
	if r.Matched != 1203 || r.Held != 3 || r.Deleted != 1200 || *told != 1200 || f.calls != 3 {
		t.Errorf("got %+v after %d calls, told %d", r, f.calls, *told)
	}
	if want := time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC); !r.Cutoff.Equal(want) {
		t.Errorf("the cutoff is %v", r.Cutoff)
	}
}

func TestApplyReportsAFailureAndGoesOn(t *testing.T) {
	f := &fake{free: 600, fail: errors.New("disk full")}
	e, _ := newEngine(f)
	run, err := e.Apply(context.Background(), []Policy{{Name: "a", Enabled: true}, {Name: "off"}, {Name: "b", Enabled: true}}, false, "test")
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Results) != 2 || run.Results[0].Deleted != 500 || !strings.Contains(run.Results[0].Error, "disk full") {
		t.Errorf("got %+v", run.Results)
	}
	if len(f.saved) != 1 || f.saved[0].Deleted() != 500 {
		t.Errorf("saved %+v", f.saved)
	}
}

func TestDryRunRemovesNothing(t *testing.T) {
	f := &fake{free: 5}
	e, _ := newEngine(f)
	run, err := e.Apply(context.Background(), []Policy{{Name: "off"}}, true, "test")
	if err != nil || f.calls != 0 || run.Results[0].Matched != 5 {
		t.Errorf("got %+v, %v after %d calls", run, err, f.calls)
	}
}

func TestOneRunAtATime(t *testing.T) {
	e, _ := newEngine(&fake{})
	e.busy.Lock()
	if _, err := e.Apply(context.Background(), nil, false, "test"); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}
