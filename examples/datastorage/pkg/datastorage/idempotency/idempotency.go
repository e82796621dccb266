// Package idempotency makes a repeated request harmless: the answer to the
// first one is remembered under the client's key and given again.
package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxKey is the longest key a client may choose, in bytes.
const MaxKey = 128

// ErrInProgress says that the first request with the key has not ended yet.
var ErrInProgress = errors.New("a request with this key is in progress")

// ErrReused says that the key came with a different request before.
var ErrReused = errors.New("the key was used for a different request")

// Record is a remembered answer.
type Record struct {
	Client      string
	Key         string
	Fingerprint string
	Status      int
	Location    string
	Body        []byte
	CreatedAt   time.Time
}

// Store keeps records.
type Store interface {
	// Recall returns the record made after the given time, or nil.
	Recall(ctx context.Context, client, key string, after time.Time) (*Record, error)
	// Remember keeps a record and forgets those made before the given time.
	Remember(ctx context.Context, r Record, forgetBefore time.Time) error
}

// Guard runs requests at most once per client and key.
type Guard struct {
	store  Store
	ttl    time.Duration
	now    func() time.Time
	mu     sync.Mutex
	active map[string]bool
}

// NewGuard returns a guard that remembers answers for ttl.
func NewGuard(store Store, ttl time.Duration, now func() time.Time) *Guard {
	return &Guard{store: store, ttl: ttl, now: now, active: map[string]bool{}}
}

// Fingerprint identifies a request by method, target and body.
func Fingerprint(method, target string, body []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", method, target)
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// ValidKey reports whether a key is 1 to MaxKey visible ASCII characters.
func ValidKey(key string) bool {
	if key == "" || len(key) > MaxKey {
		return false
	}
	for _, c := range []byte(key) {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

// Do returns the remembered answer, or runs the request and remembers its
// answer if run asks for that. The second result is true for a remembered one.
func (g *Guard) Do(ctx context.Context, client, key, fingerprint string, run func() (answer Record, keep bool)) (Record, bool, error) {
	release, ok := g.claim(client + "\x00" + key)
	if !ok {
		return Record{}, false, ErrInProgress
	}
	defer release()

	now := g.now()
	known, err := g.store.Recall(ctx, client, key, now.Add(-g.ttl))
	if err != nil {
		return Record{}, false, fmt.Errorf("recall idempotency key: %w", err)
	}
	if known != nil {
		if known.Fingerprint != fingerprint {
			return Record{}, false, ErrReused
		}
		return *known, true, nil
	}
	record, keep := run()
	if !keep {
		return record, false, nil
	}
	record.Client, record.Key, record.Fingerprint, record.CreatedAt = client, key, fingerprint, now
	if err := g.store.Remember(ctx, record, now.Add(-g.ttl)); err != nil {
		return record, false, fmt.Errorf("remember idempotency key: %w", err)
	}
	return record, false, nil
}

// claim marks a key as in use; the result releases it.
func (g *Guard) claim(id string) (func(), bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active[id] {
		return nil, false
	}
	g.active[id] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.active, id)
	}, true
}
