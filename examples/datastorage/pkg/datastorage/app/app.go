// Package app joins the parts of the service into one that runs.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"covtap.example/datastorage/pkg/datastorage/api"
	"covtap.example/datastorage/pkg/datastorage/buildinfo"
	"covtap.example/datastorage/pkg/datastorage/config"
	"covtap.example/datastorage/pkg/datastorage/health"
	"covtap.example/datastorage/pkg/datastorage/idempotency"
	"covtap.example/datastorage/pkg/datastorage/ident"
	"covtap.example/datastorage/pkg/datastorage/logging"
	"covtap.example/datastorage/pkg/datastorage/metrics"
	"covtap.example/datastorage/pkg/datastorage/middleware"
	"covtap.example/datastorage/pkg/datastorage/retention"
	"covtap.example/datastorage/pkg/datastorage/server"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/store/postgres"
	"covtap.example/datastorage/pkg/datastorage/store/sqlite"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

// openTimeout bounds the first contact with the database, migrations included.
const openTimeout = 30 * time.Second

// Run runs the service until the context ends and everything in flight is done.
func Run(ctx context.Context, c config.Config, logs io.Writer) (err error) {
	log, err := logging.New(logs, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	db, err := openStore(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() {
		if closed := db.Close(); closed != nil {
			err = errors.Join(err, fmt.Errorf("close database: %w", closed))
		}
	}()

	registry := metrics.NewRegistry()
	describe(registry, db)
	purged := registry.Counter("datastorage_events_deleted_total", "Events removed by retention.")
	ids := ident.NewGenerator(time.Now)
	engine := retention.NewEngine(db, ids.New, time.Now, log, func(n int64) { purged.Add(float64(n)) })
	checker := health.NewChecker(2*time.Second, health.Check{Name: "database", Run: db.Ping})

	handler := api.New(api.Options{
		Store:       db,
		IDs:         ids,
		Guard:       idempotency.NewGuard(db, c.IdempotencyTTL, time.Now),
		Engine:      engine,
		Health:      checker,
		Metrics:     registry,
		Limits:      validation.DefaultLimits(),
		MaxBatch:    c.MaxBatch,
		MaxInFlight: c.MaxInFlight,
		MaxBody:     c.MaxBody,
		Timeout:     c.RequestTimeout,
		Limiter:     middleware.NewRateLimiter(c.RateLimit, c.RateBurst, time.Now),
		Now:         time.Now,
	})

	var background sync.WaitGroup
	if c.RetentionInterval > 0 {
		background.Go(func() { engine.Loop(ctx, c.RetentionInterval) })
	}
	err = server.Run(ctx, server.Options{
		Addr:            c.Addr,
		AddrFile:        c.AddrFile,
		Handler:         handler,
		Health:          checker,
		Log:             log,
		DrainDelay:      c.DrainDelay,
		ShutdownTimeout: c.ShutdownTimeout,
	})
	if ctx.Err() != nil {
		background.Wait()
	}
	return err
}

// openStore opens PostgreSQL if a URL is configured, else SQLite.
func openStore(ctx context.Context, c config.Config, log *slog.Logger) (store.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if c.DatabaseURL != "" {
		db, applied, err := postgres.Open(ctx, c.DatabaseURL)
		if err != nil {
			return nil, err
		}
		log.Info("database ready", "kind", db.Name(), "url", logging.RedactURL(c.DatabaseURL), "migrations_applied", applied)
		return db, nil
	}
	db, applied, err := sqlite.Open(ctx, c.SQLitePath)
	if err != nil {
		return nil, err
	}
	log.Info("database ready", "kind", db.Name(), "path", c.SQLitePath, "migrations_applied", applied)
	return db, nil
}

// describe registers metrics about the process.
func describe(r *metrics.Registry, db store.Store) {
	build := buildinfo.Read()
	r.Info("datastorage_build_info", "The running build.", "version", build.Version, "go", build.Go, "database", db.Name())
	r.Gauge("datastorage_goroutines", "Goroutines that exist now.", func() float64 {
		return float64(runtime.NumGoroutine())
	})
	started := time.Now()
	r.Gauge("datastorage_uptime_seconds", "Seconds since the process started.", func() float64 {
		return time.Since(started).Seconds()
	})
}
