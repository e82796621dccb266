// Package metrics counts what the service does and writes the counts in the
// Prometheus text format, version 0.0.4.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ContentType is the media type of WriteText's output.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// separator joins label values to a map key; it cannot occur in UTF-8 text.
const separator = "\xff"

// Registry holds the metrics of a process.
type Registry struct {
	mu       sync.Mutex
	families map[string]family
}

// family is one metric with all its label values.
type family interface {
	header() (help, kind string)
	write(w io.Writer, name string)
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{families: map[string]family{}}
}

// register panics on a name that is taken: that is a mistake in the program.
func (r *Registry) register(name string, f family) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.families[name]; taken {
		panic("metrics: " + name + " is registered twice")
	}
	r.families[name] = f
}

// WriteText writes every metric in alphabetical order.
func (r *Registry) WriteText(w io.Writer) error {
	r.mu.Lock()
	families := maps.Clone(r.families)
	r.mu.Unlock()
	out := bufio.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		help, kind := families[name].header()
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		families[name].write(out, name)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// Counter is a family of numbers that only grow.
type Counter struct {
	help   string
	labels []string
	mu     sync.Mutex
	values map[string]float64
}

// Counter registers a counter with the given label names.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	c := &Counter{help: help, labels: labels, values: map[string]float64{}}
	if len(labels) == 0 {
		c.values[""] = 0
	}
	r.register(name, c)
	return c
}

// Add adds to the counter of the label values.
func (c *Counter) Add(n float64, values ...string) {
	if n < 0 || len(values) != len(c.labels) {
		panic(fmt.Sprintf("metrics: Add(%v, %q) on labels %q", n, values, c.labels))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[strings.Join(values, separator)] += n
}

func (c *Counter) header() (string, string) { return c.help, "counter" }

func (c *Counter) write(w io.Writer, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		fmt.Fprintf(w, "%s%s %s\n", name, labelText(c.labels, key), number(c.values[key]))
	}
}

// Gauge is a number that is asked for when metrics are written.
type Gauge struct {
	help string
	read func() float64
}

// Gauge registers a gauge that calls read for its value.
func (r *Registry) Gauge(name, help string, read func() float64) *Gauge {
	g := &Gauge{help, read}
	r.register(name, g)
	return g
}

func (g *Gauge) header() (string, string) { return g.help, "gauge" }

func (g *Gauge) write(w io.Writer, name string) {
	fmt.Fprintf(w, "%s %s\n", name, number(g.read()))
}

// Info is a gauge of value 1 whose labels carry the information.
type Info struct {
	help   string
	labels []string
	key    string
}

// Info registers an information metric from alternating names and values.
func (r *Registry) Info(name, help string, pairs ...string) *Info {
	i := &Info{help: help}
	var values []string
	for n := 0; n+1 < len(pairs); n += 2 {
		i.labels = append(i.labels, pairs[n])
		values = append(values, pairs[n+1])
	}
	i.key = strings.Join(values, separator)
	r.register(name, i)
	return i
}

func (i *Info) header() (string, string) { return i.help, "gauge" }

func (i *Info) write(w io.Writer, name string) {
	fmt.Fprintf(w, "%s%s 1\n", name, labelText(i.labels, i.key))
}

// Histogram is a family of distributions over fixed buckets.
type Histogram struct {
	help   string
	labels []string
	bounds []float64
	mu     sync.Mutex
	series map[string]*distribution
}

type distribution struct {
	counts []uint64
	sum    float64
	total  uint64
}

// Histogram registers a histogram; bounds are the upper ends of its buckets
// in increasing order.
func (r *Registry) Histogram(name, help string, bounds []float64, labels ...string) *Histogram {
	h := &Histogram{help: help, labels: labels, bounds: bounds, series: map[string]*distribution{}}
	r.register(name, h)
	return h
}

// Observe adds one value to the distribution of the label values.
func (h *Histogram) Observe(value float64, values ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := strings.Join(values, separator)
	d := h.series[key]
	if d == nil {
		d = &distribution{counts: make([]uint64, len(h.bounds))}
		h.series[key] = d
	}
	if i, _ := slices.BinarySearch(h.bounds, value); i < len(d.counts) {
		d.counts[i]++
	}
	d.sum += value
	d.total++
}

func (h *Histogram) header() (string, string) { return h.help, "histogram" }

func (h *Histogram) write(w io.Writer, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	labels := append(slices.Clone(h.labels), "le")
	for _, key := range slices.Sorted(maps.Keys(h.series)) {
		d := h.series[key]
		prefix := key + separator
		if len(h.labels) == 0 {
			prefix = ""
		}
		var cumulative uint64
		for i, bound := range h.bounds {
			cumulative += d.counts[i]
			fmt.Fprintf(w, "%s_bucket%s %d\n", name, labelText(labels, prefix+number(bound)), cumulative)
		}
		fmt.Fprintf(w, "%s_bucket%s %d\n", name, labelText(labels, prefix+"+Inf"), d.total)
		fmt.Fprintf(w, "%s_sum%s %s\n", name, labelText(h.labels, key), number(d.sum))
		fmt.Fprintf(w, "%s_count%s %d\n", name, labelText(h.labels, key), d.total)
	}
}

func labelText(names []string, key string) string {
	if len(names) == 0 {
		return ""
	}
	values := strings.Split(key, separator)
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = name + `="` + escape(values[i]) + `"`
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(s)
}

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
