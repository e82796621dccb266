package integrity

import (
	"context"
	"errors"
	"strings"
	"testing"

	"covtap.example/datastorage/pkg/datastorage/audit"
)

// chain is a source over a slice.
type chain []Link

func (c chain) Links(_ context.Context, _ string, after int64, limit int) ([]Link, error) {
	if after < 0 {
		return nil, errors.New("negative")
	}
	rest := c[min(int(after), len(c)):]
	return rest[:min(limit, len(rest))], nil
}

func build(n int) chain {
	var c chain
	prev := audit.Genesis
	for i := range n {
		e := &audit.Event{ID: "e", Stream: "s"}
		e.Seal(int64(i+1), prev)
		prev = e.Hash
		c = append(c, Link{e.Sequence, e.PrevHash, e.Hash, e})
	}
	return c
}

func TestVerify(t *testing.T) {
	cases := map[string]struct {
		change func(chain) chain
		reason string // part of it; empty if the chain holds
		links  int64
	}{
		"whole":            {func(c chain) chain { return c }, "", 450},
		"empty":            {func(chain) chain { return nil }, "", 0},
		"event removed":    {func(c chain) chain { c[3].Event = nil; return c }, "", 450},
		"link missing":     {func(c chain) chain { return append(c[:5], c[6:]...) }, "sequence 7 follows 5", 5},
		"event changed":    {func(c chain) chain { c[9].Event.Message = "x"; return c }, "content", 9},
		"event replaced":   {func(c chain) chain { c[2].Event.Seal(3, "x"); c[2].PrevHash = "x"; return c }, "previous hash", 2},
		"tombstone forged": {func(c chain) chain { c[1].Event = nil; c[1].Hash = "x"; return c }, "previous hash", 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			report, err := Verify(context.Background(), tc.change(build(450)), "s")
			if err != nil {
				t.Fatal(err)
			}
			if report.Links != tc.links || report.Valid != (tc.reason == "") {
				t.Errorf("got %+v", report)
			}
			if !report.Valid && !strings.Contains(report.Break.Reason, tc.reason) {
				t.Errorf("the reason is %q", report.Break.Reason)
			}
		})
	}
}
