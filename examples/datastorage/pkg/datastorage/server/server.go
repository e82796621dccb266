// Package server runs an HTTP server from its first connection to its last:
// it tells where it listens, and on a signal it finishes what it has begun.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"covtap.example/datastorage/pkg/datastorage/health"
	"covtap.example/datastorage/pkg/datastorage/logging"
)

// Options of a server.
type Options struct {
	Addr            string
	AddrFile        string // the address in use is written here, if set
	Handler         http.Handler
	Health          *health.Checker
	Log             *slog.Logger
	DrainDelay      time.Duration
	ShutdownTimeout time.Duration
}

// Run serves until the context ends, then shuts down: readiness fails first,
// after the drain delay no new connections are taken, and requests in flight
// get the shutdown timeout to end. The error is nil if all of them did.
func Run(ctx context.Context, o Options) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Addr, err)
	}
	address := listener.Addr().String()
	if o.AddrFile != "" {
		if err := writeAddress(o.AddrFile, address); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	httpServer := &http.Server{
		Handler:           o.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		// Requests in flight outlive the signal, so their context does too.
		BaseContext: func(net.Listener) context.Context { return logging.Into(context.Background(), o.Log) },
	}
	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(listener) }()
	o.Health.Set(health.Ready)
	o.Log.Info("listening", "address", address)

	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", address, err)
	case <-ctx.Done():
	}
	return shutdown(httpServer, o)
}

func shutdown(s *http.Server, o Options) error {
	o.Health.Set(health.Draining)
	o.Log.Info("shutdown started", "cause", "signal", "drain_delay", o.DrainDelay.String())
	if o.DrainDelay > 0 {
		<-time.After(o.DrainDelay)
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.ShutdownTimeout)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests were still in flight after %s: %w", o.ShutdownTimeout, err), s.Close())
	}
	o.Log.Info("shutdown finished")
	return nil
}

// writeAddress writes the file in one step, so that a reader never sees half
// of an address.
func writeAddress(path, address string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write address file: %w", err)
	}
	_, err = temporary.WriteString(address + "\n")
	if err = errors.Join(err, temporary.Close()); err != nil {
		return errors.Join(fmt.Errorf("write address file: %w", err), os.Remove(temporary.Name()))
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("write address file: %w", err), os.Remove(temporary.Name()))
	}
	return nil
}
