package middleware

import (
	"fmt"
	"testing"
	"time"
)

func TestTake(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := NewRateLimiter(2, 3, func() time.Time { return now })
	for want := 2; want >= 0; want-- {
		if left, wait := l.Take("a"); left != want || wait != 0 {
			t.Fatalf("got %d left, wait %v, want %d left", left, wait, want)
		}
	}
	if _, wait := l.Take("a"); wait != 500*time.Millisecond {
		t.Errorf("the wait is %v", wait)
	}
	if left, _ := l.Take("b"); left != 2 {
		t.Errorf("another client has %d left", left)
	}
	now = now.Add(time.Hour)
	if left, _ := l.Take("a"); left != 2 {
		t.Errorf("after a long rest %d are left", left)
	}
}

func TestIdleClientsAreForgotten(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := NewRateLimiter(1, 2, func() time.Time { return now })
	for i := range maxClients {
		l.Take(fmt.Sprint(i))
	}
	now = now.Add(time.Minute)
	l.Take("new")
	if len(l.buckets) != 1 {
		t.Errorf("%d clients are remembered", len(l.buckets))
	}
}
