package datastorage_test

import (
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Creating an event", func() {
	var c *client
	var stream string
	BeforeEach(func() {
		c, stream = newClient(), unique("create")
	})

	It("answers with a location that leads to the event", func() {
		created := c.post(eventsPath, event(stream))
		Expect(created.Status).To(Equal(http.StatusCreated))
		found := c.get(created.Header.Get("Location"))
		Expect(found.Status).To(Equal(http.StatusOK))
		Expect(found.JSON()).To(Equal(created.JSON()))
	})

	It("gives it the entity tag of version 1", func() {
		Expect(c.post(eventsPath, event(stream)).Header.Get("ETag")).To(Equal(`"1"`))
	})

	It("makes an id that carries the time", func() {
		before := time.Now().Add(-time.Second)
		id := c.create(event(stream))["id"].(string)
		raw, err := hex.DecodeString(id[:8] + id[9:13])
		Expect(err).NotTo(HaveOccurred())
		var ms int64
		for _, b := range raw {
			ms = ms<<8 | int64(b)
		}
		Expect(time.UnixMilli(ms)).To(BeTemporally(">", before))
		Expect(id[14:15]).To(Equal("7"))
	})

	It("keeps an id that the client has chosen", func() {
		id := "0190b3f2-0000-4000-8000-" + hex.EncodeToString([]byte(unique("x")))[4:16]
		Expect(c.create(event(stream, "id", id))["id"]).To(Equal(id))
	})

	It("refuses an id that exists already", func() {
		first := c.create(event(stream))
		p := beProblem(c.post(eventsPath, event(stream, "id", first["id"])), http.StatusConflict, "conflict")
		Expect(p["detail"]).To(ContainSubstring(first["id"].(string)))
	})

	DescribeTable("derives the severity from the outcome",
		func(outcome, severity string) {
			Expect(c.create(event(stream, "outcome", outcome))["severity"]).To(Equal(severity))
		},
		Entry("success", "success", "info"),
		Entry("failure", "failure", "warning"),
		Entry("denied", "denied", "notice"),
		Entry("pending", "pending", "info"),
	)

	It("prefers the severity that the client has named", func() {
		Expect(c.create(event(stream, "severity", "critical"))["severity"]).To(Equal("critical"))
	})

	It("keeps the time of the event in UTC with microseconds", func() {
		e := c.create(event(stream, "occurred_at", "2026-01-31T13:45:00.123456789+02:00"))
		Expect(e["occurred_at"]).To(Equal("2026-01-31T11:45:00.123456Z"))
	})

	It("takes its own time for an event without one", func() {
		e := c.create(event(stream))
		Expect(e["occurred_at"]).To(Equal(e["recorded_at"]))
	})

	It("keeps the payload as it is, without white space", func() {
		body := `{"stream":"` + stream + `","actor":{"type":"system","id":"cron"},"action":"job.ended",
			"resource":{"type":"job","id":"j"},"outcome":"success","payload":{ "b" : 1.50, "a" : [ "ü", null ] }}`
		created := c.post(eventsPath, body)
		Expect(created.Status).To(Equal(http.StatusCreated))
		Expect(string(c.get(created.Header.Get("Location")).Body)).To(ContainSubstring(`"payload":{"b":1.50,"a":["ü",null]}`))
	})

	It("trims the message", func() {
		Expect(c.create(event(stream, "message", "  order placed \n"))["message"]).To(Equal("order placed"))
	})

	It("keeps labels, also with characters beyond ASCII", func() {
		labels := object{"team": "zürich", "tier": "gold;\"quoted\""}
		e := c.create(event(stream, "labels", labels))
		Expect(c.get(path(e)).JSON()["labels"]).To(Equal(labels))
	})

	It("accepts an anonymous actor without an id", func() {
		e := c.create(event(stream, "actor", object{"type": "anonymous", "ip": "2001:db8::1"}))
		Expect(e["actor"]).To(Equal(object{"type": "anonymous", "id": "", "ip": "2001:db8::1"}))
	})

	It("starts a chain with the first event of a stream", func() {
		e := c.create(event(stream))
		Expect(e["sequence"]).To(BeEquivalentTo(1))
		Expect(e["prev_hash"]).To(Equal(strings.Repeat("0", 64)))
	})

	It("chains the second event to the first", func() {
		first, second := c.create(event(stream)), c.create(event(stream))
		Expect(second["sequence"]).To(BeEquivalentTo(2))
		Expect(second["prev_hash"]).To(Equal(first["hash"]))
	})
})

var _ = Describe("An idempotency key", func() {
	var c *client
	var stream string
	var key header
	BeforeEach(func() {
		c, stream = newClient(), unique("idempotent")
		key = header{"Idempotency-Key", unique("key")}
	})

	It("stores a repeated event once and answers the same", func() {
		first := c.post(eventsPath, event(stream), key)
		again := c.post(eventsPath, event(stream), key)
		Expect(first.Header.Get("Idempotency-Replayed")).To(BeEmpty())
		Expect(again.Header.Get("Idempotency-Replayed")).To(Equal("true"))
		Expect(again.Status).To(Equal(http.StatusCreated))
		Expect(again.Body).To(Equal(first.Body))
		Expect(c.list(stream, "")).To(HaveLen(1))
	})

	It("replays the location as well", func() {
		first := c.post(eventsPath, event(stream), key)
		Expect(c.post(eventsPath, event(stream), key).Header.Get("Location")).To(Equal(first.Header.Get("Location")))
	})

	It("is refused for another request", func() {
		c.post(eventsPath, event(stream), key)
		beProblem(c.post(eventsPath, event(stream, "outcome", "denied"), key), http.StatusUnprocessableEntity, "idempotency-key-reused")
	})

	It("belongs to one client", func() {
		c.post(eventsPath, event(stream), key)
		Expect(newClient().post(eventsPath, event(stream), key).Header.Get("Idempotency-Replayed")).To(BeEmpty())
		Expect(c.list(stream, "")).To(HaveLen(2))
	})

	It("can be used again after a refused request", func() {
		beProblem(c.post(eventsPath, event(stream, "outcome", "unknown"), key), http.StatusUnprocessableEntity, "validation-failed")
		Expect(c.post(eventsPath, event(stream), key).Status).To(Equal(http.StatusCreated))
	})

	It("must not contain spaces", func() {
		p := beProblem(c.post(eventsPath, event(stream), header{"Idempotency-Key", "two words"}), http.StatusBadRequest, "bad-request")
		Expect(p["detail"]).To(ContainSubstring("Idempotency-Key"))
	})
})
