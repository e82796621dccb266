// Package middleware wraps the service's handlers with what every request
// needs: an id, a log line, metrics, limits and protection from panics.
package middleware

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"covtap.example/datastorage/pkg/datastorage/ident"
	"covtap.example/datastorage/pkg/datastorage/logging"
	"covtap.example/datastorage/pkg/datastorage/metrics"
	"covtap.example/datastorage/pkg/datastorage/problem"
)

// Headers that clients and this service exchange.
const (
	HeaderRequestID = "X-Request-Id"
	HeaderClientID  = "X-Client-Id"
)

// maxRequestID is the longest request id taken over from a client, in bytes.
const maxRequestID = 64

// Middleware wraps a handler.
type Middleware func(http.Handler) http.Handler

// Chain applies middlewares so that the first one sees a request first.
func Chain(h http.Handler, list ...Middleware) http.Handler {
	for i := len(list) - 1; i >= 0; i-- {
		h = list[i](h)
	}
	return h
}

// Client names who sent a request: the client id it gives, else its address.
func Client(r *http.Request) string {
	if id := r.Header.Get(HeaderClientID); plain(id) {
		return "id:" + id
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "addr:" + r.RemoteAddr
	}
	return "addr:" + host
}

// plain reports whether s is a short word of harmless characters.
func plain(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}

// RequestID takes over the client's request id, or makes one, and sends it back.
func RequestID(ids *ident.Generator) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get(HeaderRequestID)
			if !plain(id) {
				fresh, err := ids.New()
				if err != nil {
					Fail(w, r, problem.Internal.New("no request id could be made"))
					return
				}
				id = fresh
			}
			w.Header().Set(HeaderRequestID, id)
			log := logging.From(r.Context()).With("request_id", id)
			next.ServeHTTP(w, r.WithContext(logging.Into(r.Context(), log)))
		})
	}
}

// SecurityHeaders tells browsers not to guess types, embed or run anything.
func SecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// recorder remembers what was sent.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the wrapped writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Observed are the metrics of served requests.
type Observed struct {
	requests *metrics.Counter
	seconds  *metrics.Histogram
	sent     *metrics.Counter
	inFlight atomic.Int64
}

// NewObserved registers the request metrics.
func NewObserved(r *metrics.Registry) *Observed {
	o := &Observed{
		requests: r.Counter("datastorage_http_requests_total", "Requests served, by route, method and status.", "route", "method", "status"),
		seconds: r.Histogram("datastorage_http_request_seconds", "Time to serve a request, by route.",
			[]float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10}, "route"),
		sent: r.Counter("datastorage_http_response_bytes_total", "Bytes of response bodies.", "route"),
	}
	r.Gauge("datastorage_http_requests_in_flight", "Requests being served now.", func() float64 {
		return float64(o.inFlight.Load())
	})
	return o
}

// Observe counts and logs every request. Route names the handler of a request,
// so that the metrics do not grow with the ids in paths.
func (o *Observed) Observe(route func(*http.Request) string) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			o.inFlight.Add(1)
			defer o.inFlight.Add(-1)
			start := time.Now()
			rec := &recorder{ResponseWriter: w}
			next.ServeHTTP(rec, r)

			name := route(r)
			took := time.Since(start)
			o.requests.Add(1, name, r.Method, strconv.Itoa(rec.status))
			o.seconds.Observe(took.Seconds(), name)
			o.sent.Add(float64(rec.bytes), name)
			level := slog.LevelInfo
			if rec.status >= 500 {
				level = slog.LevelError
			}
			logging.From(r.Context()).Log(r.Context(), level, "request served",
				"method", r.Method, "route", name, "status", rec.status, "bytes", rec.bytes, "seconds", took.Seconds())
		})
	}
}

// Recover turns a panic into a problem response and a log entry.
func Recover(panics *metrics.Counter) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := &recorder{ResponseWriter: w}
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if v == http.ErrAbortHandler {
					panic(v)
				}
				panics.Add(1)
				logging.From(r.Context()).Error("handler panicked", "panic", v, "stack", string(debug.Stack()))
				if rec.status == 0 {
					Fail(w, r, problem.Internal.New("the request could not be completed"))
				}
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// Timeout gives every request a deadline, for the arrival of its body and for
// the work on it. Handlers notice it through their context; nothing is cut off
// in the middle of a response.
func Timeout(d time.Duration) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(d)); err != nil {
				logging.From(ctx).Warn("could not bound the time to read the request", "error", err)
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// MaxBody bounds request bodies. A body that announces its length is refused
// before it is read.
func MaxBody(max int64) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > max {
				w.Header().Set("Connection", "close")
				Fail(w, r, problem.BodyTooLarge.New("the body has %d bytes, at most %d are allowed", r.ContentLength, max))
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, max)
			next.ServeHTTP(w, r)
		})
	}
}

// MaxInFlight refuses requests while too many others are being served.
func MaxInFlight(max int) Middleware {
	slots := make(chan struct{}, max)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				next.ServeHTTP(w, r)
			default:
				p := problem.Unavailable.New("%d requests are being served already", max)
				p.RetryAfter = time.Second
				Fail(w, r, p)
			}
		})
	}
}

// Fail sends a problem; a client that is gone is worth a log line, no more.
func Fail(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	if err := problem.Write(w, r, p); err != nil {
		logging.From(r.Context()).Warn("could not send problem", "error", err)
	}
}
