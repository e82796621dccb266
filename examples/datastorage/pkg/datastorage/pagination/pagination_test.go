package pagination

import (
	"errors"
	"net/url"
	"testing"
	"time"
)

func TestCursorRoundTrip(t *testing.T) {
	want := Cursor{time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC), "0190b3f2-0000-7000-8000-000000000000", OldestFirst, "abc"}
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if text != url.QueryEscape(text) {
		t.Errorf("%q is not safe in a URL", text)
	}
	got, err := Decode(text, OldestFirst, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	for _, wrong := range []struct {
		direction   Direction
		fingerprint string
	}{{NewestFirst, "abc"}, {OldestFirst, "abd"}} {
		if _, err := Decode(text, wrong.direction, wrong.fingerprint); !errors.Is(err, ErrCursor) {
			t.Errorf("Decode with %+v: got %v, want ErrCursor", wrong, err)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]int{"": DefaultLimit, "1": 1, "500": 500} {
		if got, err := ParseLimit(text); err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "501", "1.5", "ten"} {
		if _, err := ParseLimit(text); err == nil {
			t.Errorf("ParseLimit(%q): no error", text)
		}
	}
}

func TestNextLinkReplacesTheCursor(t *testing.T) {
	u, err := url.Parse("/events?cursor=old&actor=a%26b")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := NextLink(u, "new"), `</events?actor=a%26b&cursor=new>; rel="next"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
