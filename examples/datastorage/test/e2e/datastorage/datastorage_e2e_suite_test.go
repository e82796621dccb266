// Package datastorage_test is the end-to-end suite of the data storage
// service. It talks to the service over HTTP only; package infrastructure
// decides where the service runs.
package datastorage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"covtap.example/datastorage/test/infrastructure"
)

var (
	target  infrastructure.Target
	started bool // the service was ready once
	baseURL atomic.Pointer[string]
)

func TestDataStorageE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "DataStorage E2E Suite")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	// coverage wiring: begin
	if infrastructure.CoverageEnabled() {
		dir, err := infrastructure.PrepareCoverageDir()
		Expect(err).NotTo(HaveOccurred())
		say("Coverage directory %s created", dir)
	}
	// coverage wiring: end
	startPostgres(ctx)
	var err error
	target, err = infrastructure.NewTarget(os.Stdout, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) {
		Expect(target.Destroy(ctx)).To(Succeed())
	}, NodeTimeout(5*time.Minute))
	say("Starting DataStorage")
	Expect(target.Start(ctx)).To(Succeed())
	awaitReady(ctx)
	started = true
	say("DataStorage ready at %s", *baseURL.Load())
}, NodeTimeout(15*time.Minute))

// What BeforeSuite has deferred runs after this: the service's place and the
// database go last.
var _ = AfterSuite(func(ctx SpecContext) {
	if !started {
		return
	}
	closeIdleConnections()
	scaled := target.ScaleToZero(ctx)
	if scaled == nil {
		say("DataStorage scaled to 0")
	} else if log, err := target.Logs(ctx); err == nil {
		say("Log of DataStorage:\n%s", log)
	}
	// coverage wiring: begin
	// The counters are written at the end of the process, so this comes after.
	if infrastructure.CoverageEnabled() {
		Expect(infrastructure.ReportCoverage(ctx, os.Stdout)).To(Succeed())
	}
	// coverage wiring: end
	Expect(scaled).To(Succeed())
}, NodeTimeout(5*time.Minute))

// say prints a line of progress that is always seen.
func say(format string, args ...any) {
	_, err := fmt.Fprintf(os.Stdout, format+"\n", args...)
	Expect(err).NotTo(HaveOccurred())
}

// startPostgres starts a server if E2E_POSTGRES asks for one.
func startPostgres(ctx context.Context) {
	mode := os.Getenv(infrastructure.EnvPostgres)
	if mode == "" {
		return
	}
	Expect(mode).To(BeElementOf("required", "optional"), infrastructure.EnvPostgres)
	server, err := infrastructure.StartPostgres(ctx, GinkgoWriter)
	if errors.Is(err, infrastructure.ErrNoPostgres) && mode == "optional" {
		say("SKIPPED: %s", err)
		Skip(err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		Expect(server.Stop()).To(Succeed())
		say("PostgreSQL stopped")
	})
	say("PostgreSQL ready at %s", server.URL)
	Expect(os.Setenv("DATABASE_URL", server.URL)).To(Succeed())
}

// closeIdleConnections closes what the clients keep open. A connection that was
// opened and never used holds up Go's graceful shutdown for five seconds.
func closeIdleConnections() {
	http.DefaultClient.CloseIdleConnections()
}

// awaitReady waits until the service gets requests and remembers its address.
func awaitReady(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func() error {
		url, err := target.BaseURL(ctx)
		if err != nil {
			return err
		}
		response, err := http.Get(url + "/readyz")
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("readiness is %s", response.Status)
		}
		baseURL.Store(&url)
		return nil
	}).WithTimeout(time.Minute).WithPolling(20 * time.Millisecond).Should(Succeed())
}
