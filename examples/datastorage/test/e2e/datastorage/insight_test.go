package datastorage_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Statistics", func() {
	var c *client
	var stream string
	BeforeEach(func() {
		c, stream = newClient(), unique("stats")
		c.createAll(
			event(stream, "occurred_at", "2026-05-01T10:10:00Z"),
			event(stream, "occurred_at", "2026-05-01T10:50:00Z", "actor.id", "bela"),
			event(stream, "occurred_at", "2026-05-01T11:10:00Z", "outcome", "denied"),
			event(stream, "occurred_at", "2026-05-02T10:10:00Z"),
		)
	})

	// buckets renders the groups as "values: count".
	buckets := func(parameters string, members ...string) (out []string) {
		GinkgoHelper()
		a := c.get(statsPath + "?stream=" + stream + parameters)
		Expect(a.Status).To(Equal(http.StatusOK), "body: %s", a.Body)
		for _, b := range objects(a.JSON()["buckets"]) {
			var values []string
			for _, member := range members {
				values = append(values, b["key"].(object)[member].(string))
			}
			out = append(out, strings.Join(values, " ")+": "+strconv.Itoa(int(b["count"].(float64))))
		}
		return out
	}

	It("groups by outcome unless asked otherwise, largest first", func() {
		Expect(buckets("", "outcome")).To(Equal([]string{"success: 3", "denied: 1"}))
	})

	It("groups by several dimensions", func() {
		Expect(buckets("&group_by=actor,outcome", "actor", "outcome")).To(Equal([]string{"amelie success: 2", "amelie denied: 1", "bela success: 1"}))
	})

	It("groups by day", func() {
		Expect(buckets("&group_by=stream&interval=day", "interval")).To(Equal([]string{"2026-05-01T00:00:00Z: 3", "2026-05-02T00:00:00Z: 1"}))
	})

	It("groups by hour and dimension", func() {
		Expect(buckets("&interval=hour&to=2026-05-02T00:00:00Z", "interval", "outcome")).To(Equal([]string{
			"2026-05-01T10:00:00Z success: 2", "2026-05-01T11:00:00Z denied: 1",
		}))
	})

	It("sums the groups", func() {
		Expect(c.get(statsPath + "?group_by=severity&stream=" + stream).JSON()["total"]).To(BeEquivalentTo(4))
	})

	DescribeTable("refuses",
		func(parameters, fault string) {
			Expect(faults(beProblem(c.get(statsPath+"?"+parameters), http.StatusBadRequest, "invalid-query"))).To(Equal([]string{fault}))
		},
		Entry("an unknown dimension", "group_by=colour", "?group_by not_allowed"),
		Entry("a dimension twice", "group_by=action,action", "?group_by too_many"),
		Entry("more than three dimensions", "group_by=stream,actor,action,outcome", "?group_by too_many"),
		Entry("an unknown interval", "interval=month", "?interval not_allowed"),
		Entry("a faulty filter", "outcome=good", "?outcome not_allowed"),
	)
})

var _ = Describe("Verifying a stream", func() {
	var c *client
	BeforeEach(func() { c = newClient() })
	verify := func(stream string) answer {
		GinkgoHelper()
		return c.get("/api/v1/audit/streams/" + stream + "/verify")
	}

	It("follows the chain to its head", func() {
		stream := unique("verify")
		c.create(event(stream, "payload", object{"n": 1}))
		last := c.create(event(stream, "labels", object{"k": "v"}))
		Expect(verify(stream).JSON()).To(Equal(object{"stream": stream, "valid": true, "links": 2.0, "removed": 0.0, "head": last["hash"]}))
	})

	It("follows a chain that is longer than it reads at once", func() {
		stream := unique("verify")
		for range 5 {
			var events []object
			for range 45 {
				events = append(events, event(stream))
			}
			c.createAll(events...)
		}
		Expect(verify(stream).JSON()["links"]).To(BeEquivalentTo(225))
	})

	It("fails for a stream without events", func() {
		beProblem(verify(unique("none")), http.StatusNotFound, "not-found")
	})

	It("refuses a name that no stream can have", func() {
		beProblem(verify("UPPER"), http.StatusUnprocessableEntity, "validation-failed")
	})
})

var _ = Describe("Health", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	It("tells that the process lives and for how long", func() {
		body := c.get("/healthz").JSON()
		Expect(body["status"]).To(Equal("alive"))
		Expect(body["uptime_seconds"]).To(BeNumerically(">", 0))
	})

	It("tells that the service is ready", func() {
		a := c.get("/readyz")
		Expect(a.Status).To(Equal(http.StatusOK))
		Expect(a.JSON()).To(Equal(object{"status": "ready"}))
	})

	It("lists what readiness depends on", func() {
		checks := objects(c.get("/readyz?verbose").JSON()["checks"])
		Expect(checks).To(HaveExactElements(SatisfyAll(HaveKeyWithValue("name", "database"), HaveKeyWithValue("ok", true))))
	})

	It("answers HEAD without a body", func() {
		a := c.do(http.MethodHead, "/healthz", nil)
		Expect(a.Status).To(Equal(http.StatusOK))
		Expect(a.Body).To(BeEmpty())
	})

	It("is never cached", func() {
		Expect(c.get("/readyz").Header.Get("Cache-Control")).To(Equal("no-store"))
	})

	It("cannot be posted to", func() {
		beProblem(c.post("/healthz", object{}), http.StatusMethodNotAllowed, "method-not-allowed")
	})

	It("tells the version beside it", func() {
		Expect(c.get("/version").JSON()).To(SatisfyAll(HaveKey("go"), HaveKeyWithValue("version", "dev")))
	})
})

var _ = Describe("Metrics", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	value := func(series string) float64 {
		GinkgoHelper()
		for line := range strings.Lines(string(c.get("/metrics").Body)) {
			if text, ok := strings.CutPrefix(line, series+" "); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
				Expect(err).NotTo(HaveOccurred())
				return v
			}
		}
		return 0
	}

	It("have the media type of the text format", func() {
		Expect(c.get("/metrics").Header.Get("Content-Type")).To(HavePrefix("text/plain; version=0.0.4"))
	})

	It("are well-formed line by line", func() {
		series := regexp.MustCompile(`^[a-z_]+(\{[a-z_]+="(\\.|[^"\\])*"(,[a-z_]+="(\\.|[^"\\])*")*\})? [-+0-9.eInf]+$`)
		for line := range strings.Lines(string(c.get("/metrics").Body)) {
			line = strings.TrimSuffix(line, "\n")
			if !strings.HasPrefix(line, "# HELP ") && !strings.HasPrefix(line, "# TYPE ") {
				Expect(line).To(MatchRegexp(series.String()))
			}
		}
	})

	It("count stored events by outcome", func() {
		before := value(`datastorage_events_stored_total{outcome="pending"}`)
		c.create(event(unique("metrics"), "outcome", "pending"))
		Expect(value(`datastorage_events_stored_total{outcome="pending"}`)).To(Equal(before + 1))
	})

	It("count refused events by cause", func() {
		before := value(`datastorage_events_rejected_total{cause="invalid"}`)
		c.post(eventsPath, event(""))
		Expect(value(`datastorage_events_rejected_total{cause="invalid"}`)).To(Equal(before + 1))
	})

	It("count removed events", func() {
		stream := unique("metrics")
		before := value("datastorage_events_deleted_total")
		c.create(event(stream, "occurred_at", ago(2*day)))
		c.do(http.MethodDelete, eventsPath+"?"+query("stream", stream, "to", ago(day)), nil)
		Expect(value("datastorage_events_deleted_total")).To(Equal(before + 1))
	})

	It("name the route of a request, not its path", func() {
		e := c.create(event(unique("metrics")))
		c.get(path(e))
		text := string(c.get("/metrics").Body)
		Expect(text).To(ContainSubstring(`route="/api/v1/audit/events/{id}",method="GET",status="200"`))
		Expect(text).NotTo(ContainSubstring(e["id"].(string)))
	})

	It("put all unknown paths under one name", func() {
		series := `datastorage_http_requests_total{route="none",method="GET",status="404"}`
		before := value(series)
		c.get("/" + unique("unknown"))
		Expect(value(series)).To(Equal(before + 1))
	})

	It("have histograms whose last bucket is the count", func() {
		c.get("/healthz")
		text := string(c.get("/metrics").Body)
		last := regexp.MustCompile(`request_seconds_bucket\{route="/healthz",le="\+Inf"\} (\d+)`).FindStringSubmatch(text)
		count := regexp.MustCompile(`request_seconds_count\{route="/healthz"\} (\d+)`).FindStringSubmatch(text)
		Expect(last).NotTo(BeNil())
		Expect(last[1]).To(Equal(count[1]))
	})

	It("count the request that reads them as in flight", func() {
		Expect(value("datastorage_http_requests_in_flight")).To(BeNumerically(">=", 1))
	})

	It("name the database", func() {
		Expect(string(c.get("/metrics").Body)).To(MatchRegexp(`datastorage_build_info\{.*database="(sqlite|postgres)"\} 1`))
	})
})
