package datastorage_test

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// These specs run the program beside the service for a moment. Leave them out
// with --label-filter='!process'.
var _ = Describe("The program", Label("process"), func() {
	It("tells its version", func(ctx SpecContext) {
		result, err := target.Exec(ctx, nil, "-version")
		Expect(err).NotTo(HaveOccurred())
		Expect(result.ExitCode).To(Equal(0))
		var version object
		Expect(json.Unmarshal([]byte(result.Stdout), &version)).To(Succeed())
		Expect(version).To(HaveKey("platform"))
	})

	It("lists everything that is wrong with its configuration", func(ctx SpecContext) {
		result, err := target.Exec(ctx, []string{
			"DATABASE_URL=mysql://user:hidden@db/x", "DATASTORAGE_MAX_BATCH=0", "DATASTORAGE_RATE_LIMIT=fast",
			"DATASTORAGE_REQUEST_TIMEOUT=soon", "DATASTORAGE_ADDR=8080", "DATASTORAGE_RATE_BURST=many", "DATASTORAGE_DRAIN_DELAY=-1s",
		}, "-check-config")
		Expect(err).NotTo(HaveOccurred())
		Expect(result.ExitCode).To(Equal(1))
		for _, name := range []string{"DATABASE_URL", "MAX_BATCH", "RATE_LIMIT", "REQUEST_TIMEOUT", "ADDR", "RATE_BURST", "DRAIN_DELAY"} {
			Expect(result.Stderr).To(ContainSubstring(name))
		}
		Expect(result.Stderr).NotTo(ContainSubstring("hidden"))
	})

	It("does not start with a log level that does not exist", func(ctx SpecContext) {
		result, err := target.Exec(ctx, []string{"DATASTORAGE_LOG_LEVEL=loud"})
		Expect(err).NotTo(HaveOccurred())
		Expect(result.ExitCode).To(Equal(1))
		Expect(result.Stderr).To(ContainSubstring(`log level "loud"`))
	})

	It("fails to probe a place where nobody listens", func(ctx SpecContext) {
		result, err := target.Exec(ctx, nil, "-probe", "http://127.0.0.1:1/readyz")
		Expect(err).NotTo(HaveOccurred())
		Expect(result.ExitCode).To(Equal(1))
		Expect(result.Stderr).To(ContainSubstring("refused"))
	})

	It("refuses an argument that it does not know", func(ctx SpecContext) {
		result, err := target.Exec(ctx, nil, "-verbose")
		Expect(err).NotTo(HaveOccurred())
		Expect(result.ExitCode).To(Equal(2))
	})
})

// These specs end the service and start it again. Leave them out with
// --label-filter='!restart'.
var _ = Describe("A graceful shutdown", Label("restart"), Ordered, Serial, func() {
	var c *client
	var before object
	var inFlight chan answer
	var failed chan error
	var rest *io.PipeWriter
	var stream string

	BeforeAll(func(ctx SpecContext) {
		c, stream = newClient(), unique("shutdown")
		before = c.create(event(stream))

		// A request whose body has not arrived completely is in flight.
		inFlight, failed = make(chan answer, 1), make(chan error, 1)
		body, writer := io.Pipe()
		rest = writer
		go func() {
			a, err := c.try(http.MethodPost, eventsPath, io.Reader(body))
			if err != nil {
				failed <- err
				return
			}
			inFlight <- a
		}()
		_, err := rest.Write([]byte(`{"stream":"` + stream + `","actor":{"type":"user","id":"late"},`))
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() string { return string(c.get("/metrics").Body) }).
			WithTimeout(10 * time.Second).WithPolling(10 * time.Millisecond).
			Should(MatchRegexp(`requests_in_flight [2-9]`))
		closeIdleConnections()
		Expect(target.BeginShutdown(ctx)).To(Succeed())
		Eventually(ctx, target.Logs).WithTimeout(30 * time.Second).WithPolling(20 * time.Millisecond).
			Should(ContainSubstring("shutdown started"))
	}, NodeTimeout(time.Minute))

	It("lets a request in flight end", func() {
		_, err := rest.Write([]byte(`"action":"order.created","resource":{"type":"order","id":"late"},"outcome":"success"}`))
		Expect(err).NotTo(HaveOccurred())
		Expect(rest.Close()).To(Succeed())
		var a answer
		Eventually(inFlight).WithTimeout(10*time.Second).Should(Receive(&a), "%v", failed)
		Expect(a.Status).To(Equal(http.StatusCreated))
		Expect(a.JSON()["sequence"]).To(BeEquivalentTo(2))
	})

	It("ends cleanly and comes back ready", func(ctx SpecContext) {
		Expect(target.Replace(ctx)).To(Succeed())
		awaitReady(ctx)
	}, NodeTimeout(3*time.Minute))

	It("applies no migration twice", func(ctx SpecContext) {
		log, err := target.Logs(ctx)
		Expect(err).NotTo(HaveOccurred())
		expected := `"migrations_applied":0`
		if !target.KeepsData() {
			expected = `"migrations_applied":3`
		}
		Expect(log).To(ContainSubstring(expected))
	})

	It("keeps what was stored if the database outlives it", func() {
		a := newClient().get(path(before))
		if target.KeepsData() {
			Expect(a.JSON()).To(Equal(before))
		} else {
			Expect(a.Status).To(Equal(http.StatusNotFound))
		}
	})
})
