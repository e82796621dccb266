// Package health answers the two questions an orchestrator asks: is the
// process alive, and should it get requests now.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"covtap.example/datastorage/pkg/datastorage/logging"
)

// State is the stage of the service's life.
type State int32

// The stages, in order.
const (
	Starting State = iota
	Ready
	Draining
)

// String names the stage.
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	default:
		return "draining"
	}
}

// Check looks at one thing that the service depends on.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Checker keeps the stage and runs the checks.
type Checker struct {
	state   atomic.Int32
	started time.Time
	timeout time.Duration
	checks  []Check
}

// NewChecker returns a checker in the stage Starting; timeout bounds each check.
func NewChecker(timeout time.Duration, checks ...Check) *Checker {
	return &Checker{started: time.Now(), timeout: timeout, checks: checks}
}

// Set moves to another stage.
func (c *Checker) Set(s State) {
	c.state.Store(int32(s))
}

// State returns the current stage.
func (c *Checker) State() State {
	return State(c.state.Load())
}

// outcome is the answer of one check.
type outcome struct {
	Name     string  `json:"name"`
	OK       bool    `json:"ok"`
	Error    string  `json:"error,omitempty"`
	Duration float64 `json:"duration_seconds"`
}

// report is the answer of both endpoints.
type report struct {
	Status string    `json:"status"`
	Uptime float64   `json:"uptime_seconds,omitempty"`
	Checks []outcome `json:"checks,omitempty"`
}

// Live answers 200 as long as the process can answer at all.
func (c *Checker) Live(w http.ResponseWriter, r *http.Request) {
	c.write(w, r, http.StatusOK, report{Status: "alive", Uptime: time.Since(c.started).Seconds()})
}

// Ready answers 200 if the service should get requests, else 503. The checks
// are listed when one fails or the client asks with ?verbose.
func (c *Checker) Ready(w http.ResponseWriter, r *http.Request) {
	state := c.State()
	if state != Ready {
		c.write(w, r, http.StatusServiceUnavailable, report{Status: state.String()})
		return
	}
	outcomes, ok := c.run(r.Context())
	rep := report{Status: state.String()}
	if !ok {
		rep.Status = "unhealthy"
	}
	if !ok || r.URL.Query().Has("verbose") {
		rep.Checks = outcomes
	}
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	c.write(w, r, status, rep)
}

// run runs all checks at the same time.
func (c *Checker) run(ctx context.Context) ([]outcome, bool) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	outcomes := make([]outcome, len(c.checks))
	var wg sync.WaitGroup
	for i, check := range c.checks {
		wg.Go(func() {
			start := time.Now()
			err := runProtected(ctx, check)
			outcomes[i] = outcome{Name: check.Name, OK: err == nil, Duration: time.Since(start).Seconds()}
			if err != nil {
				outcomes[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	ok := true
	for _, o := range outcomes {
		ok = ok && o.OK
	}
	return outcomes, ok
}

// runProtected turns a panic of a check into an error.
func runProtected(ctx context.Context, check Check) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("check %s panicked: %v", check.Name, v)
		}
	}()
	return check.Run(ctx)
}

func (c *Checker) write(w http.ResponseWriter, r *http.Request, status int, rep report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if err := json.NewEncoder(w).Encode(rep); err != nil {
		logging.From(r.Context()).Warn("could not send health report", "error", err)
	}
}
