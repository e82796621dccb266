package middleware

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"covtap.example/datastorage/pkg/datastorage/metrics"
	"covtap.example/datastorage/pkg/datastorage/problem"
)

// maxClients bounds the limiter's memory. When it is reached, clients that
// have their full allowance back are forgotten.
const maxClients = 10000

// RateLimiter gives each client a bucket of tokens that refills steadily.
type RateLimiter struct {
	rate  float64 // tokens per second
	burst float64 // size of a bucket
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// NewRateLimiter returns a limiter over the given clock.
func NewRateLimiter(rate float64, burst int, now func() time.Time) *RateLimiter {
	return &RateLimiter{rate: rate, burst: float64(burst), now: now, buckets: map[string]*bucket{}}
}

// Take takes one token of a client. It returns how many are left, or how long
// to wait for the next one.
func (l *RateLimiter) Take(client string) (left int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[client]
	if b == nil {
		if len(l.buckets) >= maxClients {
			l.forgetIdle(now)
		}
		b = &bucket{tokens: l.burst, at: now}
		l.buckets[client] = b
	}
	b.tokens = l.refilled(b, now)
	b.at = now
	if b.tokens < 1 {
		missing := (1 - b.tokens) / l.rate
		return 0, time.Duration(math.Ceil(missing * float64(time.Second)))
	}
	b.tokens--
	return int(b.tokens), 0
}

func (l *RateLimiter) refilled(b *bucket, now time.Time) float64 {
	return math.Min(l.burst, b.tokens+now.Sub(b.at).Seconds()*l.rate)
}

func (l *RateLimiter) forgetIdle(now time.Time) {
	for client, b := range l.buckets {
		if l.refilled(b, now) >= l.burst {
			delete(l.buckets, client)
		}
	}
}

// Limit refuses requests of clients that have used up their allowance.
func (l *RateLimiter) Limit(refused *metrics.Counter) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			left, wait := l.Take(Client(r))
			w.Header().Set("RateLimit-Limit", strconv.Itoa(int(l.burst)))
			w.Header().Set("RateLimit-Remaining", strconv.Itoa(left))
			if wait > 0 {
				refused.Add(1)
				p := problem.RateLimited.New("at most %v requests per second are allowed", l.rate)
				p.RetryAfter = wait
				Fail(w, r, p)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
