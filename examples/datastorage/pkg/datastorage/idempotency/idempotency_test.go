package idempotency

import (
	"context"
	"errors"
	"testing"
	"time"
)

type memory map[string]Record

func (m memory) Recall(_ context.Context, client, key string, after time.Time) (*Record, error) {
	r, ok := m[client+"/"+key]
	if !ok || !r.CreatedAt.After(after) {
		return nil, nil
	}
	return &r, nil
}

func (m memory) Remember(_ context.Context, r Record, _ time.Time) error {
	m[r.Client+"/"+r.Key] = r
	return nil
}

func TestGuard(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := NewGuard(memory{}, time.Hour, func() time.Time { return now })
	runs := 0
	do := func(fingerprint string, keep bool) (bool, error) {
		_, replayed, err := g.Do(ctx, "c", "k", fingerprint, func() (Record, bool) {
			runs++
			return Record{Status: 201}, keep
		})
		return replayed, err
	}
	steps := []struct {
		name     string
		print    string
		keep     bool
		later    time.Duration
		replayed bool
		err      error
		runs     int
	}{
		{"a refused request is not kept", "a", false, 0, false, nil, 1},
		{"the corrected one runs", "b", true, 0, false, nil, 2},
		{"the same again does not", "b", true, 0, true, nil, 2},
		{"another with the key is refused", "c", true, 0, false, ErrReused, 2},
		{"an old answer is forgotten", "c", true, 2 * time.Hour, false, nil, 3},
	}
	for _, step := range steps {
		now = now.Add(step.later)
		replayed, err := do(step.print, step.keep)
		if replayed != step.replayed || !errors.Is(err, step.err) || runs != step.runs {
			t.Errorf("%s: got replayed %v, error %v, %d runs", step.name, replayed, err, runs)
		}
	}
}

func TestOneAtATime(t *testing.T) {
	g := NewGuard(memory{}, time.Hour, time.Now)
	_, _, err := g.Do(context.Background(), "c", "k", "f", func() (Record, bool) {
		_, _, inner := g.Do(context.Background(), "c", "k", "f", func() (Record, bool) { return Record{}, true })
		if !errors.Is(inner, ErrInProgress) {
			t.Errorf("got %v, want ErrInProgress", inner)
		}
		return Record{}, true
	})
	if err != nil {
		t.Error(err)
	}
}

func TestValidKey(t *testing.T) {
	for key, want := range map[string]bool{"": false, "a b": false, "ä": false, "a-1~": true, string(make([]byte, 129)): false} {
		if ValidKey(key) != want {
			t.Errorf("ValidKey(%q) is %v", key, !want)
		}
	}
}
