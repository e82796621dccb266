// Package config reads the service's settings from environment variables and
// reports everything that is wrong with them at once.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// The environment variables that the service reads.
const (
	EnvDatabaseURL       = "DATABASE_URL"
	EnvSQLitePath        = "DATASTORAGE_SQLITE_PATH"
	EnvAddr              = "DATASTORAGE_ADDR"
	EnvAddrFile          = "DATASTORAGE_ADDR_FILE"
	EnvLogLevel          = "DATASTORAGE_LOG_LEVEL"
	EnvLogFormat         = "DATASTORAGE_LOG_FORMAT"
	EnvMaxBody           = "DATASTORAGE_MAX_BODY_BYTES"
	EnvMaxBatch          = "DATASTORAGE_MAX_BATCH"
	EnvMaxInFlight       = "DATASTORAGE_MAX_IN_FLIGHT"
	EnvRateLimit         = "DATASTORAGE_RATE_LIMIT"
	EnvRateBurst         = "DATASTORAGE_RATE_BURST"
	EnvRequestTimeout    = "DATASTORAGE_REQUEST_TIMEOUT"
	EnvDrainDelay        = "DATASTORAGE_DRAIN_DELAY"
	EnvShutdownTimeout   = "DATASTORAGE_SHUTDOWN_TIMEOUT"
	EnvRetentionInterval = "DATASTORAGE_RETENTION_INTERVAL"
	EnvIdempotencyTTL    = "DATASTORAGE_IDEMPOTENCY_TTL"
)

// Config holds the settings of one service process.
type Config struct {
	DatabaseURL       string        // PostgreSQL; empty means the embedded SQLite
	SQLitePath        string        // database file
	Addr              string        // host:port to listen on; port 0 picks a free one
	AddrFile          string        // where to write the address in use, if set
	LogLevel          string        // debug, info, warn or error
	LogFormat         string        // json or text
	MaxBody           int64         // bytes of one request body
	MaxBatch          int           // events of one batch
	MaxInFlight       int           // requests served at the same time
	RateLimit         float64       // requests per second and client
	RateBurst         int           // requests a quiet client may send at once
	RequestTimeout    time.Duration // time to answer one request
	DrainDelay        time.Duration // between failing readiness and closing the listener
	ShutdownTimeout   time.Duration // time for requests in flight to end
	RetentionInterval time.Duration // between retention runs; 0 turns them off
	IdempotencyTTL    time.Duration // how long an idempotency key is remembered
}

// Default is the configuration of an empty environment.
func Default() Config {
	return Config{
		SQLitePath:      "data-storage.db",
		Addr:            ":8080",
		LogLevel:        "info",
		LogFormat:       "json",
		MaxBody:         1 << 20,
		MaxBatch:        100,
		MaxInFlight:     256,
		RateLimit:       50,
		RateBurst:       100,
		RequestTimeout:  15 * time.Second,
		ShutdownTimeout: 20 * time.Second,
		IdempotencyTTL:  24 * time.Hour,
	}
}

// loader overrides defaults from an environment and collects faults.
type loader struct {
	getenv func(string) string
	faults []error
}

// Load reads the environment through getenv, normally os.Getenv.
func Load(getenv func(string) string) (Config, error) {
	c := Default()
	l := &loader{getenv: getenv}
	l.text(EnvDatabaseURL, &c.DatabaseURL)
	l.text(EnvSQLitePath, &c.SQLitePath)
	l.text(EnvAddr, &c.Addr)
	l.text(EnvAddrFile, &c.AddrFile)
	l.text(EnvLogLevel, &c.LogLevel)
	l.text(EnvLogFormat, &c.LogFormat)
	l.integer64(EnvMaxBody, &c.MaxBody, 1024)
	l.integer(EnvMaxBatch, &c.MaxBatch, 1)
	l.integer(EnvMaxInFlight, &c.MaxInFlight, 1)
	l.float(EnvRateLimit, &c.RateLimit)
	l.integer(EnvRateBurst, &c.RateBurst, 1)
	l.duration(EnvRequestTimeout, &c.RequestTimeout, time.Millisecond)
	l.duration(EnvDrainDelay, &c.DrainDelay, 0)
	l.duration(EnvShutdownTimeout, &c.ShutdownTimeout, time.Millisecond)
	l.duration(EnvRetentionInterval, &c.RetentionInterval, 0)
	l.duration(EnvIdempotencyTTL, &c.IdempotencyTTL, time.Minute)
	l.faults = append(l.faults, c.check()...)
	if len(l.faults) > 0 {
		return Config{}, fmt.Errorf("configuration: %w", errors.Join(l.faults...))
	}
	return c, nil
}

// FromEnvironment reads the environment of this process.
func FromEnvironment() (Config, error) {
	return Load(os.Getenv)
}

// check looks at settings that are only wrong together or by content.
func (c Config) check() []error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		faults = append(faults, fmt.Errorf("%s: %q is not host:port: %w", EnvAddr, c.Addr, err))
	}
	if c.DatabaseURL != "" {
		u, err := url.Parse(c.DatabaseURL)
		switch {
		case err != nil:
			// The parser's own message repeats the URL and with it the password.
			faults = append(faults, fmt.Errorf("%s: it is not a URL", EnvDatabaseURL))
		case u.Scheme != "postgres" && u.Scheme != "postgresql":
			faults = append(faults, fmt.Errorf("%s: scheme %q is not postgres", EnvDatabaseURL, u.Scheme))
		}
	}
	if strings.ContainsAny(c.SQLitePath, "?#") {
		faults = append(faults, fmt.Errorf("%s: %q must not contain ? or #", EnvSQLitePath, c.SQLitePath))
	}
	return faults
}

func (l *loader) text(name string, target *string) {
	if v := l.getenv(name); v != "" {
		*target = v
	}
}

func (l *loader) integer(name string, target *int, least int) {
	wide := int64(*target)
	l.integer64(name, &wide, int64(least))
	*target = int(wide)
}

func (l *loader) integer64(name string, target *int64, least int64) {
	v := l.getenv(name)
	if v == "" {
		return
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		l.fault(name, v, "is not a whole number")
		return
	}
	if n < least {
		l.fault(name, v, fmt.Sprintf("must be at least %d", least))
		return
	}
	*target = n
}

func (l *loader) float(name string, target *float64) {
	v := l.getenv(name)
	if v == "" {
		return
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n <= 0 {
		l.fault(name, v, "must be a number above 0")
		return
	}
	*target = n
}

func (l *loader) duration(name string, target *time.Duration, least time.Duration) {
	v := l.getenv(name)
	if v == "" {
		return
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		l.fault(name, v, "is not a duration such as 30s")
		return
	}
	if d < least {
		l.fault(name, v, fmt.Sprintf("must be at least %s", least))
		return
	}
	*target = d
}

func (l *loader) fault(name, value, words string) {
	l.faults = append(l.faults, fmt.Errorf("%s: %q %s", name, value, words))
}
