package query

import (
	"net/url"
	"reflect"
	"testing"
	"time"
)

func parse(t *testing.T, text string) (List, []string) {
	t.Helper()
	values, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	list, faults := Parse(values)
	var out []string
	for _, f := range faults {
		out = append(out, f.Pointer+" "+f.Code)
	}
	return list, out
}

func TestParseReadsEveryMember(t *testing.T) {
	list, faults := parse(t, "stream=a,b&actor_type=user&actor=x&action=order.*&resource_type=r&resource_id=i&namespace=n"+
		"&outcome=failure&min_severity=warning&correlation_id=c&q=text&label.k=v&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00%2B01:00"+
		"&on_hold=true&limit=7&order=asc&count=true")
	if faults != nil {
		t.Fatal(faults)
	}
	yes := true
	want := Filter{
		Streams: []string{"a", "b"}, ActorTypes: []string{"user"}, ActorID: "x", ActionPrefix: "order.",
		ResourceType: "r", ResourceID: "i", Namespace: "n", Outcomes: []string{"failure"},
		Severities: []string{"warning", "critical"}, CorrelationID: "c", Text: "text",
		Labels: map[string]string{"k": "v"}, OnHold: &yes,
		From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 1, 23, 0, 0, 0, time.UTC),
	}
	if !reflect.DeepEqual(list.Filter, want) {
		t.Errorf("got %+v, want %+v", list.Filter, want)
	}
	if !list.Count || list.Page.Limit != 7 || list.Page.Direction != "asc" {
		t.Errorf("got %+v", list)
	}
}

func TestParseReportsEveryFault(t *testing.T) {
	_, faults := parse(t, "q=a&order=up&limit=x&zzz=1&aaa=1")
	want := []string{"?q out_of_range", "?limit out_of_range", "?order not_allowed", "?aaa not_allowed", "?zzz not_allowed"}
	if !reflect.DeepEqual(faults, want) {
		t.Errorf("got %q, want %q", faults, want)
	}
}

func TestFingerprint(t *testing.T) {
	fingerprint := func(text string) string {
		list, faults := parse(t, text)
		if faults != nil {
			t.Fatal(faults)
		}
		out, err := list.Filter.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	same := fingerprint("outcome=failure,denied&stream=a")
	for _, text := range []string{"stream=a&outcome=denied&outcome=failure", "outcome=denied,failure,denied&stream=a&limit=3"} {
		if fingerprint(text) != same {
			t.Errorf("%s selects the same, but its fingerprint differs", text)
		}
	}
	for _, text := range []string{"outcome=failure&stream=a", "outcome=failure,denied", "outcome=failure,denied&stream=a&on_hold=false"} {
		if fingerprint(text) == same {
			t.Errorf("%s selects something else, but its fingerprint is the same", text)
		}
	}
}
