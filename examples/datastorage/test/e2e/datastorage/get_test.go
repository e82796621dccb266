package datastorage_test

import (
	"net/http"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Reading an event", func() {
	var c *client
	var e object
	BeforeEach(func() {
		c = newClient()
		e = c.create(event(unique("get")))
	})

	It("fails for an id that does not exist", func() {
		beProblem(c.get(eventsPath+"/0190b3f2-0000-7000-8000-000000000000"), http.StatusNotFound, "not-found")
	})

	It("sends nothing that the client has already", func() {
		a := c.get(path(e), header{"If-None-Match", `"1"`})
		Expect(a.Status).To(Equal(http.StatusNotModified))
		Expect(a.Body).To(BeEmpty())
	})

	It("understands a list of weak entity tags", func() {
		Expect(c.get(path(e), header{"If-None-Match", `W/"9", W/"1"`}).Status).To(Equal(http.StatusNotModified))
	})

	It("understands a star for any version", func() {
		Expect(c.get(path(e), header{"If-None-Match", "*"}).Status).To(Equal(http.StatusNotModified))
	})

	It("sends the event to a client with another version", func() {
		Expect(c.get(path(e), header{"If-None-Match", `"2", nonsense`}).JSON()["id"]).To(Equal(e["id"]))
	})

	It("keeps shared caches from storing it", func() {
		Expect(c.get(path(e)).Header.Get("Cache-Control")).To(Equal("private, no-cache"))
	})

	It("tells the size alone for HEAD", func() {
		full := c.get(path(e))
		a := c.do(http.MethodHead, path(e), nil)
		Expect(a.Body).To(BeEmpty())
		Expect(a.Header.Get("Content-Length")).To(Equal(strconv.Itoa(len(full.Body))))
	})

	It("lists the methods for OPTIONS", func() {
		a := c.do(http.MethodOptions, path(e), nil)
		Expect(a.Status).To(Equal(http.StatusNoContent))
		Expect(a.Header.Get("Allow")).To(Equal("GET, HEAD, OPTIONS"))
	})

	DescribeTable("leaves it as it is",
		func(method string) {
			a := c.do(method, path(e), event("changed"))
			beProblem(a, http.StatusMethodNotAllowed, "method-not-allowed")
			Expect(c.get(path(e)).JSON()).To(Equal(e))
		},
		Entry("when it is to be replaced", http.MethodPut),
		Entry("when it is to be changed", http.MethodPatch),
		Entry("when it is to be deleted", http.MethodDelete),
	)
})

var _ = Describe("A hold", func() {
	var c *client
	var e object
	BeforeEach(func() {
		c = newClient()
		e = c.create(event(unique("hold")))
	})

	hold := func(version string, body any) answer {
		GinkgoHelper()
		var headers []header
		if version != "" {
			headers = append(headers, header{"If-Match", version})
		}
		return c.do(http.MethodPut, path(e)+"/hold", body, headers...)
	}
	reason := object{"reason": "case 4711"}

	It("is stored with its reason", func() {
		a := hold(`"1"`, reason)
		Expect(a.Status).To(Equal(http.StatusOK))
		Expect(c.get(path(e)).JSON()["hold"]).To(Equal(object{"active": true, "reason": "case 4711"}))
	})

	It("makes a new version", func() {
		a := hold(`"1"`, reason)
		Expect(a.Header.Get("ETag")).To(Equal(`"2"`))
		Expect(a.JSON()["version"]).To(BeEquivalentTo(2))
	})

	It("does not touch the hash", func() {
		Expect(hold("*", reason).JSON()["hash"]).To(Equal(e["hash"]))
	})

	It("can be found by a filter", func() {
		hold("*", reason)
		stream := e["stream"].(string)
		c.create(event(stream))
		Expect(c.list(stream, "on_hold=true")).To(HaveLen(1))
		Expect(c.list(stream, "on_hold=false")).To(HaveLen(1))
	})

	It("ends when it is released", func() {
		hold(`"1"`, reason)
		a := c.do(http.MethodDelete, path(e)+"/hold", nil, header{"If-Match", `"2"`})
		Expect(a.Status).To(Equal(http.StatusOK))
		Expect(a.JSON()["hold"]).To(Equal(object{"active": false}))
	})

	It("is refused over a version that has changed", func() {
		hold(`"1"`, reason)
		p := beProblem(hold(`"1"`, reason), http.StatusPreconditionFailed, "version-mismatch")
		Expect(p["current_version"]).To(BeEquivalentTo(2))
	})

	It("needs the version", func() {
		beProblem(hold("", reason), http.StatusPreconditionRequired, "precondition-required")
	})

	It("refuses a version that is none", func() {
		beProblem(hold("one", reason), http.StatusBadRequest, "bad-request")
	})

	It("needs a reason", func() {
		p := beProblem(hold("*", object{"reason": ""}), http.StatusUnprocessableEntity, "validation-failed")
		Expect(faults(p)).To(Equal([]string{"/reason required"}))
	})

	It("needs an event", func() {
		e["id"] = "0190b3f2-0000-7000-8000-000000000001"
		beProblem(hold("*", reason), http.StatusNotFound, "not-found")
	})
})
