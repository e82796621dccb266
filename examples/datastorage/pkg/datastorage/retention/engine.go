package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"covtap.example/datastorage/pkg/datastorage/query"
)

// Store is what retention needs of the database.
type Store interface {
	Count(ctx context.Context, f query.Filter) (int64, error)
	// Purge removes the oldest matching events that no hold protects, at
	// most limit of them, and returns how many those were.
	Purge(ctx context.Context, f query.Filter, limit int) (int64, error)

	Policies(ctx context.Context) ([]Policy, error)
	Policy(ctx context.Context, name string) (Policy, error)
	// PutPolicy stores a policy over the expected version and returns it
	// with its new version.
	PutPolicy(ctx context.Context, p Policy, expected int64) (Policy, error)
	DeletePolicy(ctx context.Context, name string, expected int64) error

	SaveRun(ctx context.Context, r Run) error
	Run(ctx context.Context, id string) (Run, error)
	Runs(ctx context.Context, limit int) ([]Run, error)
}

// Result is what one policy did, or would do, in a run.
type Result struct {
	Policy  string    `json:"policy"`
	Cutoff  time.Time `json:"cutoff"`
	Matched int64     `json:"matched"`
	Held    int64     `json:"held"`
	Deleted int64     `json:"deleted"`
	Error   string    `json:"error,omitempty"`
}

// Run is one pass over policies.
type Run struct {
	ID         string    `json:"id"`
	DryRun     bool      `json:"dry_run"`
	Trigger    string    `json:"trigger"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	Results    []Result  `json:"results"`
}

// Deleted is how many events all policies of the run removed.
func (r Run) Deleted() int64 {
	var sum int64
	for _, result := range r.Results {
		sum += result.Deleted
	}
	return sum
}

// ErrBusy says that another run has not ended yet.
var ErrBusy = errors.New("a retention run is in progress")

// purgeBatch bounds one transaction, so that writers never wait for long.
const purgeBatch = 500

// Engine applies policies, one run at a time.
type Engine struct {
	store Store
	newID func() (string, error)
	now   func() time.Time
	log   *slog.Logger
	busy  sync.Mutex
	// onDeleted is told about every batch of removed events.
	onDeleted func(int64)
}

// NewEngine returns an engine. The function onDeleted may be nil.
func NewEngine(store Store, newID func() (string, error), now func() time.Time, log *slog.Logger, onDeleted func(int64)) *Engine {
	if onDeleted == nil {
		onDeleted = func(int64) {}
	}
	return &Engine{store: store, newID: newID, now: now, log: log, onDeleted: onDeleted}
}

// Apply runs the policies. A policy that fails is a result with an error; the
// others still run. The run is stored, also a dry one.
func (e *Engine) Apply(ctx context.Context, policies []Policy, dryRun bool, trigger string) (Run, error) {
	if !e.busy.TryLock() {
		return Run{}, ErrBusy
	}
	defer e.busy.Unlock()

	id, err := e.newID()
	if err != nil {
		return Run{}, err
	}
	run := Run{ID: id, DryRun: dryRun, Trigger: trigger, StartedAt: e.now().UTC(), Results: []Result{}}
	for _, p := range policies {
		if !p.Enabled && !dryRun {
			continue
		}
		result, err := e.one(ctx, p, run.StartedAt, dryRun)
		if err != nil {
			result.Error = err.Error()
			e.log.Error("retention policy failed", "policy", p.Name, "error", err)
		}
		run.Results = append(run.Results, result)
	}
	run.FinishedAt = e.now().UTC()
	if err := e.store.SaveRun(ctx, run); err != nil {
		return run, fmt.Errorf("save retention run %s: %w", run.ID, err)
	}
	e.log.Info("retention run finished", "run", run.ID, "trigger", trigger, "dry_run", dryRun, "deleted", run.Deleted())
	return run, nil
}

func (e *Engine) one(ctx context.Context, p Policy, now time.Time, dryRun bool) (Result, error) {
	filter := p.Filter(now)
	result := Result{Policy: p.Name, Cutoff: filter.To}
	var err error
	if result.Matched, err = e.store.Count(ctx, filter); err != nil {
		return result, fmt.Errorf("count matching events: %w", err)
	}
	held := filter
	onHold := true
	held.OnHold = &onHold
	if result.Held, err = e.store.Count(ctx, held); err != nil {
		return result, fmt.Errorf("count held events: %w", err)
	}
	if dryRun {
		return result, nil
	}
	result.Deleted, err = e.Purge(ctx, filter)
	return result, err
}

// Purge removes everything a filter selects that no hold protects, in
// batches. What was removed before an error is counted.
func (e *Engine) Purge(ctx context.Context, f query.Filter) (int64, error) {
	free := false
	f.OnHold = &free
	var total int64
	for {
		n, err := e.store.Purge(ctx, f, purgeBatch)
		total += n
		e.onDeleted(n)
		if err != nil {
			return total, fmt.Errorf("purge events: %w", err)
		}
		if n < purgeBatch {
			return total, nil
		}
	}
}

// Loop applies all policies at every interval until the context ends.
func (e *Engine) Loop(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		policies, err := e.store.Policies(ctx)
		if err == nil {
			_, err = e.Apply(ctx, policies, false, "schedule")
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			e.log.Error("scheduled retention run failed", "error", err)
		}
	}
}
