package datastorage_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Validation", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	manyLabels := object{}
	for i := range 17 {
		manyLabels[fmt.Sprintf("l%d", i)] = "x"
	}

	DescribeTable("refuses an event with",
		func(fault string, changes ...any) {
			p := beProblem(c.post(eventsPath, event("valid", changes...)), http.StatusUnprocessableEntity, "validation-failed")
			Expect(faults(p)).To(Equal([]string{fault}))
		},
		Entry("no stream", "/stream required", "stream", ""),
		Entry("a stream in capitals", "/stream pattern", "stream", "Orders"),
		Entry("a stream with a long name", "/stream too_long", "stream", strings.Repeat("s", 64)),
		Entry("no action", "/action required", "action", ""),
		Entry("an action without a dot", "/action pattern", "action", "created"),
		Entry("an unknown type of actor", "/actor/type not_allowed", "actor.type", "robot"),
		Entry("a named anonymous actor", "/actor/id not_allowed", "actor.type", "anonymous"),
		Entry("an address that is none", "/actor/ip format", "actor.ip", "10.0.0.256"),
		Entry("no resource", "/resource/id required", "resource.id", ""),
		Entry("a bad type of resource", "/resource/type pattern", "resource.type", "order item"),
		Entry("a bad namespace", "/resource/namespace pattern", "resource.namespace", "-shop"),
		Entry("no outcome", "/outcome required", "outcome", ""),
		Entry("an unknown severity", "/severity not_allowed", "severity", "fatal"),
		Entry("an id in capitals", "/id format", "id", "0190B3F2-0000-7000-8000-000000000000"),
		Entry("an id that is too short", "/id format", "id", "0190b3f2"),
		Entry("a time in the future", "/occurred_at out_of_range", "occurred_at", time.Now().Add(time.Hour).Format(time.RFC3339)),
		Entry("a time long ago", "/occurred_at out_of_range", "occurred_at", "1999-12-31T23:59:59Z"),
		Entry("a long message", "/message too_long", "message", strings.Repeat("ä", 2001)),
		Entry("a control character", "/message pattern", "message", "bell \a"),
		Entry("a long correlation", "/correlation_id too_long", "correlation_id", strings.Repeat("c", 201)),
		Entry("too many labels", "/labels too_many", "labels", manyLabels),
		Entry("a bad name of a label", "/labels/a~1b pattern", "labels", object{"a/b": "x"}),
		Entry("an empty label", "/labels/tier required", "labels", object{"tier": ""}),
		Entry("a payload that is a list", "/payload format", "payload", []int{1}),
		Entry("a large payload", "/payload too_long", "payload", object{"x": strings.Repeat("x", 16<<10)}),
	)

	It("reports all faults of an event at once", func() {
		p := beProblem(c.post(eventsPath, object{}), http.StatusUnprocessableEntity, "validation-failed")
		Expect(faults(p)).To(Equal([]string{
			"/stream required", "/actor/type required", "/actor/id required", "/action required",
			"/resource/type required", "/resource/id required", "/outcome required",
		}))
	})

	It("counts characters, not bytes", func() {
		Expect(c.create(event(unique("valid"), "message", strings.Repeat("ä", 2000)))).To(HaveKey("id"))
	})

	It("tolerates a clock that runs a little ahead", func() {
		Expect(c.create(event(unique("valid"), "occurred_at", time.Now().Add(4*time.Minute).Format(time.RFC3339)))).To(HaveKey("id"))
	})
})

var _ = Describe("A malformed body", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	DescribeTable("is explained:",
		func(body, detail string) {
			p := beProblem(c.post(eventsPath, body), http.StatusBadRequest, "malformed-json")
			Expect(p["detail"]).To(ContainSubstring(detail))
		},
		Entry("no body", "", "the body is empty"),
		Entry("white space alone", " \n", "the body is empty"),
		Entry("a syntax error with its place", `{"stream":}`, "syntax error at byte 11"),
		Entry("an early end", `{"stream":"x"`, "ends too early"),
		Entry("an unknown member", `{"steam":"x"}`, `unknown field "steam"`),
		Entry("a member of another type", `{"actor":{"id":7}}`, "actor.id must not be a number"),
		Entry("a document of another type", `[]`, "the document must not be an array"),
		Entry("more than one document", `{} {}`, "there is more after the JSON value"),
		Entry("a time that is none", `{"occurred_at":"noon"}`, "noon"),
	)
})
