package datastorage_test

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Filtering events", Ordered, func() {
	var c *client
	var stream string

	// One event for each letter; the fixture is the same for all filters.
	BeforeAll(func() {
		c, stream = newClient(), unique("filter")
		at := func(hour int) string {
			return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC).Format(time.RFC3339)
		}
		c.createAll(
			event(stream, "resource.id", "a", "occurred_at", at(1), "actor.id", "bela", "severity", "critical"),
			event(stream, "resource.id", "b", "occurred_at", at(2), "action", "order.cancelled", "outcome", "failure"),
			event(stream, "resource.id", "c", "occurred_at", at(3), "action", "order_item.created", "resource.type", "item"),
			event(stream, "resource.id", "d", "occurred_at", at(4), "actor.type", "service", "message", "Paid 100% by card"),
			event(stream, "resource.id", "e", "occurred_at", at(5), "outcome", "denied", "correlation_id", "trace 7"),
			event(stream, "resource.id", "f", "occurred_at", at(6), "labels", object{"region": "eu", "tier": "gold"}),
			event(stream, "resource.id", "g", "occurred_at", at(7), "labels", object{"region": "us", "tier": "gold"}, "message", "paid 1000 in cash"),
			event(stream, "resource.id", "h", "occurred_at", at(8), "resource.namespace", "shop", "severity", "notice"),
		)
	})
	// A client of its own for every spec keeps them clear of the rate limit.
	BeforeEach(func() { c = newClient() })

	DescribeTable("selects",
		func(filter string, expected ...string) {
			Expect(resourceIDs(c.list(stream, "order=asc&"+filter))).To(Equal(expected))
		},
		Entry("by actor", "actor=bela", "a"),
		Entry("by type of actor", "actor_type=service", "d"),
		Entry("by action", "action=order.cancelled", "b"),
		Entry("by several actions", "action=order.cancelled,order_item.created", "b", "c"),
		Entry("by a prefix of the action, where _ is no wildcard", query("action", "order.*"), "a", "b", "d", "e", "f", "g", "h"),
		Entry("by type of resource", "resource_type=item", "c"),
		Entry("by resource", "resource_id=g", "g"),
		Entry("by namespace", "namespace=shop", "h"),
		Entry("by outcome", "outcome=denied", "e"),
		Entry("by a repeated outcome", "outcome=denied&outcome=failure", "b", "e"),
		Entry("by severity", "severity=notice", "e", "h"),
		Entry("by a least severity", "min_severity=warning", "a", "b"),
		Entry("by correlation", query("correlation_id", "trace 7"), "e"),
		Entry("by text in any case", "q=PAID", "d", "g"),
		Entry("by text with a percent sign", query("q", "100%"), "d"),
		Entry("by label", "label.region=eu", "f"),
		Entry("by two labels", "label.tier=gold&label.region=us", "g"),
		Entry("from a time, inclusive", query("from", "2026-03-01T07:00:00Z"), "g", "h"),
		Entry("to a time, exclusive", query("to", "2026-03-01T02:00:00Z"), "a"),
		Entry("between times in another zone", query("from", "2026-03-01T04:00:00+01:00", "to", "2026-03-01T06:00:00+01:00"), "c", "d"),
		Entry("by several members together", "actor=amelie&outcome=success&resource_type=order&label.tier=gold", "f", "g"),
	)

	It("selects nothing for a label that no event has", func() {
		Expect(c.list(stream, "label.region=asia")).To(BeEmpty())
	})

	It("answers with an empty list, not with null", func() {
		Expect(string(c.get(eventsPath + "?stream=" + unique("none")).Body)).To(Equal("{\"items\":[]}\n"))
	})

	DescribeTable("refuses",
		func(filter, fault string) {
			p := beProblem(c.get(eventsPath+"?"+filter), http.StatusBadRequest, "invalid-query")
			Expect(faults(p)).To(ContainElement(fault))
		},
		Entry("an unknown parameter", "actr=bela", "?actr not_allowed"),
		Entry("a repeated actor", "actor=a&actor=b", "?actor too_many"),
		Entry("an unknown outcome", "outcome=perhaps", "?outcome not_allowed"),
		Entry("an empty element of a list", "action=order.created,", "?action required"),
		Entry("a time without a zone", "from=2026-03-01T07:00:00", "?from format"),
		Entry("a time range that ends before it starts", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "?to out_of_range"),
		Entry("a short text", "q=ab", "?q out_of_range"),
		Entry("a truth value that is none", "on_hold=2", "?on_hold format"),
		Entry("two kinds of severity", "severity=info&min_severity=info", "?min_severity not_allowed"),
		Entry("an unknown least severity", "min_severity=mild", "?min_severity not_allowed"),
		Entry("a prefix among actions", "action=order.created,item.*", "?action not_allowed"),
		Entry("a prefix without a dot", query("action", "ord*"), "?action pattern"),
		Entry("a label without a name", "label.=x", "?label. required"),
		Entry("a page size of 0", "limit=0", "?limit out_of_range"),
		Entry("a page size above the greatest", "limit=501", "?limit out_of_range"),
		Entry("a page size that is no number", "limit=ten", "?limit out_of_range"),
		Entry("an unknown order", "order=random", "?order not_allowed"),
	)

	It("reports all faults of a query at once", func() {
		p := beProblem(c.get(eventsPath+"?limit=0&outcome=x&to=yesterday"), http.StatusBadRequest, "invalid-query")
		Expect(faults(p)).To(ConsistOf("?outcome not_allowed", "?to format", "?limit out_of_range"))
		Expect(p["detail"]).To(Equal("3 problems found"))
	})
})
