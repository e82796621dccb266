package datastorage_test

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("A batch", func() {
	var c *client
	var stream string
	BeforeEach(func() {
		c, stream = newClient(), unique("batch")
	})

	batch := func(suffix string, events ...any) answer {
		GinkgoHelper()
		return c.post(batchPath+suffix, object{"events": events})
	}

	It("stores all events in order", func() {
		a := batch("", event(stream, "resource.id", "a"), event(stream, "resource.id", "b"), event(stream, "resource.id", "c"))
		Expect(a.Status).To(Equal(http.StatusCreated))
		Expect(a.JSON()["stored"]).To(BeEquivalentTo(3))
		Expect(resourceIDs(c.list(stream, "order=asc"))).To(Equal([]string{"a", "b", "c"}))
	})

	It("tells the id of every stored event", func() {
		a := batch("", event(stream), event(stream))
		for _, result := range objects(a.JSON()["results"]) {
			Expect(c.get(path(result)).Status).To(Equal(http.StatusOK))
		}
	})

	It("stores the valid events and names the others", func() {
		a := batch("", event(stream), event(stream, "outcome", "maybe"), event(stream))
		Expect(a.Status).To(Equal(http.StatusMultiStatus))
		Expect(a.JSON()["rejected"]).To(BeEquivalentTo(1))
		refused := objects(a.JSON()["results"])[1]
		Expect(refused["status"]).To(BeEquivalentTo(http.StatusUnprocessableEntity))
		Expect(faults(refused["problem"].(object))).To(Equal([]string{"/events/1/outcome not_allowed"}))
		Expect(c.list(stream, "")).To(HaveLen(2))
	})

	It("is refused as a whole if no event is valid", func() {
		a := batch("", event(stream, "stream", ""), event(stream, "action", "x"))
		Expect(a.Status).To(Equal(http.StatusUnprocessableEntity))
		Expect(a.JSON()["stored"]).To(BeEquivalentTo(0))
	})

	It("survives an event of the wrong shape", func() {
		a := batch("", event(stream), "no object", event(stream, "labels", "no object"))
		Expect(a.Status).To(Equal(http.StatusMultiStatus))
		results := objects(a.JSON()["results"])
		Expect(results[0]["status"]).To(BeEquivalentTo(http.StatusCreated))
		Expect(results[1]["problem"].(object)["detail"]).To(Equal("the document must not be a string"))
		Expect(results[2]["problem"].(object)["detail"]).To(Equal("labels must not be a string"))
	})

	It("refuses the second of two events with one id", func() {
		id := c.create(event(unique("other")))["id"].(string)
		id = id[:24] + "00000000ffff"
		a := batch("", event(stream, "id", id), event(stream, "id", id))
		Expect(a.Status).To(Equal(http.StatusMultiStatus))
		Expect(objects(a.JSON()["results"])[1]["status"]).To(BeEquivalentTo(http.StatusConflict))
	})

	It("stores the others if events exist already", func() {
		first, second := c.create(event(stream)), c.create(event(stream))
		a := batch("", event(stream, "id", first["id"]), event(stream), event(stream, "id", second["id"]))
		Expect(a.Status).To(Equal(http.StatusMultiStatus))
		Expect(a.JSON()["stored"]).To(BeEquivalentTo(1))
		Expect(c.list(stream, "")).To(HaveLen(3))
	})

	It("counts each stream for itself", func() {
		other := unique("batch")
		batch("", event(stream), event(other), event(stream), event(other))
		Expect(c.list(stream, "")[0]["sequence"]).To(BeEquivalentTo(2))
		Expect(c.list(other, "")[0]["sequence"]).To(BeEquivalentTo(2))
	})

	It("needs the member events to be a list", func() {
		p := beProblem(c.post(batchPath, `{"events":{}}`), http.StatusBadRequest, "malformed-json")
		Expect(p["detail"]).To(Equal("events must not be an object"))
	})

	It("refuses an empty list of events", func() {
		p := beProblem(c.post(batchPath, `{"events":[]}`), http.StatusUnprocessableEntity, "validation-failed")
		Expect(faults(p)).To(Equal([]string{"/events required"}))
	})

	It("must not have more events than allowed", func() {
		events := make([]any, 51)
		for i := range events {
			events[i] = event(stream)
		}
		p := beProblem(batch("", events...), http.StatusRequestEntityTooLarge, "body-too-large")
		Expect(p["detail"]).To(Equal("the batch has 51 events, at most 50 are allowed"))
	})

	Context("that is atomic", func() {
		It("stores all of its events", func() {
			a := batch("?atomic=true", event(stream), event(stream))
			Expect(a.Status).To(Equal(http.StatusCreated))
			Expect(c.list(stream, "")).To(HaveLen(2))
		})

		It("stores nothing if one event is invalid", func() {
			p := beProblem(batch("?atomic=true", event(stream), event(stream, "actor.id", ""), "x"), http.StatusUnprocessableEntity, "validation-failed")
			Expect(faults(p)).To(Equal([]string{"/events/1/actor/id required", "/events/2 rejected"}))
			Expect(c.list(stream, "")).To(BeEmpty())
		})

		It("stores nothing if one event exists already", func() {
			existing := c.create(event(unique("other")))
			beProblem(batch("?atomic=1", event(stream), event(stream, "id", existing["id"])), http.StatusConflict, "conflict")
			Expect(c.list(stream, "")).To(BeEmpty())
		})

		It("leaves no gap in the chain after it failed", func() {
			existing := c.create(event(stream))
			batch("?atomic=true", event(stream), event(stream, "id", existing["id"]))
			Expect(c.create(event(stream))["sequence"]).To(BeEquivalentTo(2))
		})
	})

	It("refuses an unclear wish for atomicity", func() {
		beProblem(batch("?atomic=perhaps", event(stream)), http.StatusBadRequest, "invalid-query")
	})
})
