package datastorage_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("A problem", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	It("names the path as its instance", func() {
		Expect(c.get(eventsPath + "/nobody?x=1").JSON()["instance"]).To(Equal(eventsPath + "/nobody"))
	})

	It("carries the id of the request", func() {
		a := c.get("/nowhere", header{"X-Request-Id", "trace-1"})
		Expect(a.JSON()["request_id"]).To(Equal("trace-1"))
	})

	It("has a title that does not depend on the request", func() {
		Expect(c.get("/a").JSON()["title"]).To(Equal(c.get("/b").JSON()["title"]))
	})

	It("must not be cached", func() {
		Expect(c.get("/nowhere").Header.Get("Cache-Control")).To(Equal("no-store"))
	})

	It("answers for unknown paths", func() {
		p := beProblem(c.get("/api/v2/audit/events"), http.StatusNotFound, "not-found")
		Expect(p["detail"]).To(Equal("no resource has the path /api/v2/audit/events"))
	})

	It("names the allowed methods", func() {
		a := c.do(http.MethodPatch, eventsPath, nil)
		beProblem(a, http.StatusMethodNotAllowed, "method-not-allowed")
		Expect(a.Header.Get("Allow")).To(Equal("DELETE, GET, HEAD, OPTIONS, POST"))
	})

	It("has no body for HEAD", func() {
		a := c.do(http.MethodHead, eventsPath+"/nobody", nil)
		Expect(a.Status).To(Equal(http.StatusNotFound))
		Expect(a.Body).To(BeEmpty())
	})
})

var _ = Describe("Content types and sizes", func() {
	var c *client
	var stream string
	BeforeEach(func() { c, stream = newClient(), unique("content") })

	DescribeTable("refuses",
		func(name, value string) {
			beProblem(c.post(eventsPath, event(stream), header{name, value}), http.StatusUnsupportedMediaType, "unsupported-media-type")
		},
		Entry("a form", "Content-Type", "application/x-www-form-urlencoded"),
		Entry("a media type that is none", "Content-Type", "json/"),
		Entry("another character set", "Content-Type", "application/json; charset=latin1"),
		Entry("a compressed body", "Content-Encoding", "gzip"),
	)

	It("accepts UTF-8 in any spelling", func() {
		a := c.post(eventsPath, event(stream), header{"Content-Type", "application/json; charset=UTF-8"})
		Expect(a.Status).To(Equal(http.StatusCreated))
	})

	It("refuses a body whose announced size is too large", func() {
		p := beProblem(c.post(eventsPath, bytes.Repeat([]byte("x"), 65537)), http.StatusRequestEntityTooLarge, "body-too-large")
		Expect(p["detail"]).To(ContainSubstring("65537 bytes"))
	})

	It("refuses a body of unknown size that turns out too large", func() {
		body := io.MultiReader(strings.NewReader(`{"message":"`), bytes.NewReader(bytes.Repeat([]byte("x"), 65536)))
		p := beProblem(c.post(eventsPath, body), http.StatusRequestEntityTooLarge, "body-too-large")
		Expect(p["detail"]).To(Equal("the body has more than 65536 bytes"))
	})
})

var _ = Describe("Every response", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	It("has a request id", func() {
		Expect(c.get("/version").Header.Get("X-Request-Id")).To(MatchRegexp("^[0-9a-f-]{36}$"))
	})

	It("repeats the client's request id", func() {
		Expect(c.get("/version", header{"X-Request-Id", "my.id:1"}).Header.Get("X-Request-Id")).To(Equal("my.id:1"))
	})

	DescribeTable("replaces a request id",
		func(id string) {
			Expect(c.get("/version", header{"X-Request-Id", id}).Header.Get("X-Request-Id")).NotTo(Equal(id))
		},
		Entry("with unsafe characters", `{"log":"forged"}`),
		Entry("that is too long", strings.Repeat("a", 65)),
	)

	It("forbids browsers to guess and to embed", func() {
		h := c.get("/version").Header
		Expect(h.Get("X-Content-Type-Options")).To(Equal("nosniff"))
		Expect(h.Get("Content-Security-Policy")).To(ContainSubstring("frame-ancestors 'none'"))
	})
})
