package metrics

import (
	"strings"
	"testing"
)

func TestWriteText(t *testing.T) {
	r := NewRegistry()
	c := r.Counter("b_total", "Counted.", "kind")
	c.Add(2, `quo"te`)
	c.Add(0.5, "a\nb")
	r.Counter("c_total", "Plain.")
	r.Gauge("d", "Asked.", func() float64 { return -1 })
	r.Info("e_info", "Told.", "version", "1", "os", "x")
	h := r.Histogram("a_seconds", "Measured.", []float64{0.1, 1})
	h.Observe(0.1)
	h.Observe(5)
	var out strings.Builder
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	want := `# HELP a_seconds Measured.
# TYPE a_seconds histogram
a_seconds_bucket{le="0.1"} 1
a_seconds_bucket{le="1"} 1
a_seconds_bucket{le="+Inf"} 2
a_seconds_sum 5.1
a_seconds_count 2
# HELP b_total Counted.
# TYPE b_total counter
b_total{kind="a\nb"} 0.5
b_total{kind="quo\"te"} 2
# HELP c_total Plain.
# TYPE c_total counter
c_total 0
# HELP d Asked.
# TYPE d gauge
d -1
# HELP e_info Told.
# TYPE e_info gauge
e_info{version="1",os="x"} 1
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	r := NewRegistry()
	r.Counter("a", "")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	r.Gauge("a", "", nil)
}
