package ident

import (
	"errors"
	"testing"
	"testing/iotest"
	"time"
)

func TestIdentifiersIncrease(t *testing.T) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := NewGenerator(func() time.Time { return clock })
	last := ""
	for i := range 10000 {
		if i == 6000 {
			clock = clock.Add(-time.Hour) // a clock may be set back
		}
		id, err := g.New()
		if err != nil {
			t.Fatal(err)
		}
		if !Valid(id) || id <= last {
			t.Fatalf("%s follows %s", id, last)
		}
		last = id
	}
}

func TestTime(t *testing.T) {
	want := time.Date(2026, 1, 1, 0, 0, 0, int(7*time.Millisecond), time.UTC)
	id, err := NewGenerator(func() time.Time { return want }).New()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := Time(id); !ok || !got.Equal(want) {
		t.Errorf("got %v, %v, want %v", got, ok, want)
	}
	if _, ok := Time("0190b3f2-0000-4000-8000-000000000000"); ok {
		t.Error("a version 4 identifier has no time")
	}
}

func TestNoRandomness(t *testing.T) {
	g := NewGenerator(time.Now)
	g.random = iotest.ErrReader(errors.New("empty"))
	if _, err := g.New(); err == nil {
		t.Error("no error")
	}
}
