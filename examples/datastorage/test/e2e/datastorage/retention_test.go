package datastorage_test

import (
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const day = 24 * time.Hour

var _ = Describe("Removing events", func() {
	var c *client
	var stream, bound string
	var old object
	BeforeEach(func() {
		c, stream = newClient(), unique("purge")
		old = c.create(event(stream, "resource.id", "old", "occurred_at", ago(10*day)))
		c.create(event(stream, "resource.id", "older", "occurred_at", ago(20*day)))
		c.create(event(stream, "resource.id", "fresh"))
		bound = query("stream", stream, "to", ago(day))
	})

	purge := func(parameters string) answer {
		GinkgoHelper()
		return c.do(http.MethodDelete, eventsPath+"?"+parameters, nil)
	}

	It("only counts in a dry run", func() {
		Expect(purge(bound + "&dry_run=true").JSON()).To(Equal(object{"dry_run": true, "matched": 2.0, "held": 0.0, "deleted": 0.0}))
		Expect(c.list(stream, "")).To(HaveLen(3))
	})

	It("removes what is older than the bound", func() {
		Expect(purge(bound).JSON()["deleted"]).To(BeEquivalentTo(2))
		Expect(resourceIDs(c.list(stream, ""))).To(Equal([]string{"fresh"}))
	})

	It("honours other filters too", func() {
		Expect(purge(bound + "&resource_id=older").JSON()["deleted"]).To(BeEquivalentTo(1))
		Expect(resourceIDs(c.list(stream, ""))).To(Equal([]string{"fresh", "old"}))
	})

	It("keeps events on hold", func() {
		c.do(http.MethodPut, path(old)+"/hold", object{"reason": "audit"}, header{"If-Match", "*"})
		Expect(purge(bound).JSON()).To(Equal(object{"dry_run": false, "matched": 2.0, "held": 1.0, "deleted": 1.0}))
		Expect(c.get(path(old)).Status).To(Equal(http.StatusOK))
	})

	It("makes events unreadable", func() {
		purge(bound)
		beProblem(c.get(path(old)), http.StatusNotFound, "not-found")
	})

	It("removes nothing twice", func() {
		purge(bound)
		Expect(purge(bound).JSON()["matched"]).To(BeEquivalentTo(0))
	})

	It("leaves a chain that can be verified", func() {
		purge(bound)
		report := c.get("/api/v1/audit/streams/" + stream + "/verify").JSON()
		Expect(report["valid"]).To(BeTrue())
		Expect(report["links"]).To(BeEquivalentTo(3))
		Expect(report["removed"]).To(BeEquivalentTo(2))
	})

	It("continues the chain where it was", func() {
		purge(query("stream", stream, "to", ago(0)))
		Expect(c.create(event(stream))["sequence"]).To(BeEquivalentTo(4))
	})

	DescribeTable("refuses",
		func(parameters, fault string) {
			p := beProblem(purge(parameters), http.StatusBadRequest, "invalid-query")
			Expect(faults(p)).To(ContainElement(fault))
			Expect(c.list(stream, "")).To(HaveLen(3))
		},
		Entry("to remove without a bound in time", "actor=amelie", "?to required"),
		Entry("a bound in the future", "to=2100-01-01T00:00:00Z", "?to out_of_range"),
		Entry("to remove events on hold", "on_hold=true&to=2026-01-01T00:00:00Z", "?on_hold not_allowed"),
		Entry("an unclear dry run", "dry_run=yes&to=2026-01-01T00:00:00Z", "?dry_run format"),
		Entry("paging", "limit=1&to=2026-01-01T00:00:00Z", "?limit not_allowed"),
	)
})

var _ = Describe("A retention policy", func() {
	var c *client
	var name, address string
	fresh := header{"If-None-Match", "*"}
	BeforeEach(func() {
		c, name = newClient(), unique("policy")
		address = policiesPath + "/" + name
	})
	AfterEach(func() {
		Expect(c.do(http.MethodDelete, address, nil, header{"If-Match", "*"}).Status).To(BeElementOf(http.StatusNoContent, http.StatusNotFound))
	})

	put := func(body object, headers ...header) answer {
		GinkgoHelper()
		return c.do(http.MethodPut, address, body, headers...)
	}
	month := object{"max_age": "P30D"}

	It("is created with a location and version 1", func() {
		a := put(month, fresh)
		Expect(a.Status).To(Equal(http.StatusCreated))
		Expect(a.Header.Get("Location")).To(Equal(address))
		Expect(a.Header.Get("ETag")).To(Equal(`"1"`))
	})

	It("is enabled unless it says otherwise", func() {
		Expect(put(month, fresh).JSON()["enabled"]).To(BeTrue())
	})

	It("is not created over another one", func() {
		put(month, fresh)
		beProblem(put(month, fresh), http.StatusPreconditionFailed, "version-mismatch")
	})

	It("is replaced over the version that was seen", func() {
		put(month, fresh)
		a := put(object{"max_age": "P7D", "enabled": false, "description": "a week"}, header{"If-Match", `"1"`})
		Expect(a.Status).To(Equal(http.StatusOK))
		Expect(a.JSON()["version"]).To(BeEquivalentTo(2))
		Expect(c.get(address).JSON()).To(SatisfyAll(HaveKeyWithValue("enabled", false), HaveKeyWithValue("description", "a week")))
	})

	It("is not replaced over an old version", func() {
		put(month, fresh)
		put(month, header{"If-Match", `"1"`})
		p := beProblem(put(month, header{"If-Match", `"1"`}), http.StatusPreconditionFailed, "version-mismatch")
		Expect(p["current_version"]).To(BeEquivalentTo(2))
	})

	It("is not replaced without a version", func() {
		beProblem(put(month), http.StatusPreconditionRequired, "precondition-required")
	})

	It("must exist to be replaced at any version", func() {
		beProblem(put(month, header{"If-Match", "*"}), http.StatusNotFound, "not-found")
	})

	DescribeTable("writes an age in days and smaller units",
		func(given, kept string) {
			Expect(put(object{"max_age": given}, fresh).JSON()["max_age"]).To(Equal(kept))
		},
		Entry("weeks", "P2W", "P14D"),
		Entry("hours and minutes", "PT36H5M", "P1DT12H5M"),
		Entry("Go's form", "90m", "PT1H30M"),
	)

	DescribeTable("refuses",
		func(body object, fault string) {
			p := beProblem(put(body, fresh), http.StatusUnprocessableEntity, "validation-failed")
			Expect(faults(p)).To(ContainElement(fault))
		},
		Entry("no age", object{}, "/max_age out_of_range"),
		Entry("a very short age", object{"max_age": "PT59S"}, "/max_age out_of_range"),
		Entry("an unknown outcome", object{"max_age": "P1D", "outcomes": []string{"lost"}}, "/outcomes/0 not_allowed"),
		Entry("an empty stream", object{"max_age": "P1D", "streams": []string{"a", ""}}, "/streams/1 required"),
		Entry("a prefix without a dot", object{"max_age": "P1D", "action_prefix": "order"}, "/action_prefix pattern"),
	)

	DescribeTable("refuses an age that is none:",
		func(age string) {
			p := beProblem(put(object{"max_age": age}, fresh), http.StatusBadRequest, "malformed-json")
			Expect(p["detail"]).To(ContainSubstring(age))
		},
		Entry("a word", "forever"),
		Entry("months, whose length varies", "P1M"),
		Entry("a dangling T", "P1DT"),
	)

	It("refuses a bad name", func() {
		address = policiesPath + "/Bad_Name"
		p := beProblem(put(month, fresh), http.StatusUnprocessableEntity, "validation-failed")
		Expect(faults(p)).To(Equal([]string{"/name pattern"}))
	})

	It("is not sent to a client that has it", func() {
		put(month, fresh)
		Expect(c.get(address, header{"If-None-Match", `"1"`}).Status).To(Equal(http.StatusNotModified))
	})

	It("is listed", func() {
		put(month, fresh)
		Expect(c.get(policiesPath).Items()).To(ContainElement(HaveKeyWithValue("name", name)))
	})

	It("is gone when it is deleted", func() {
		put(month, fresh)
		Expect(c.do(http.MethodDelete, address, nil, header{"If-Match", `"1"`}).Status).To(Equal(http.StatusNoContent))
		beProblem(c.get(address), http.StatusNotFound, "not-found")
	})

	It("is not deleted at another version", func() {
		put(month, fresh)
		beProblem(c.do(http.MethodDelete, address, nil, header{"If-Match", `"3"`}), http.StatusPreconditionFailed, "version-mismatch")
	})

	It("is not deleted without a version", func() {
		beProblem(c.do(http.MethodDelete, address, nil), http.StatusPreconditionRequired, "precondition-required")
	})
})

var _ = Describe("A retention run", func() {
	var c *client
	var stream, name string
	BeforeEach(func() {
		c, stream, name = newClient(), unique("run"), unique("policy")
		c.createAll(
			event(stream, "resource.id", "a", "occurred_at", ago(3*day)),
			event(stream, "resource.id", "b", "occurred_at", ago(3*day), "outcome", "failure"),
			event(stream, "resource.id", "c", "occurred_at", ago(3*day), "action", "login.failed"),
			event(stream, "resource.id", "d"),
		)
	})
	AfterEach(func() {
		Expect(c.do(http.MethodDelete, policiesPath+"/"+name, nil, header{"If-Match", "*"}).Status).To(BeElementOf(http.StatusNoContent, http.StatusNotFound))
	})

	policy := func(changes ...any) {
		GinkgoHelper()
		body := object{"max_age": "P2D", "streams": []string{stream}}
		for i := 0; i+1 < len(changes); i += 2 {
			body[changes[i].(string)] = changes[i+1]
		}
		a := c.do(http.MethodPut, policiesPath+"/"+name, body, header{"If-None-Match", "*"})
		Expect(a.Status).To(Equal(http.StatusCreated), "body: %s", a.Body)
	}
	run := func(dryRun bool) answer {
		GinkgoHelper()
		return c.post(runsPath, object{"policies": []string{name}, "dry_run": dryRun})
	}
	result := func(a answer) object {
		GinkgoHelper()
		Expect(a.Status).To(Equal(http.StatusCreated), "body: %s", a.Body)
		return objects(a.JSON()["results"])[0]
	}

	It("removes what is too old", func() {
		policy()
		Expect(result(run(false))["deleted"]).To(BeEquivalentTo(3))
		Expect(resourceIDs(c.list(stream, ""))).To(Equal([]string{"d"}))
	})

	It("removes nothing in a dry run", func() {
		policy()
		Expect(result(run(true))).To(SatisfyAll(HaveKeyWithValue("matched", 3.0), HaveKeyWithValue("deleted", 0.0)))
		Expect(c.list(stream, "")).To(HaveLen(4))
	})

	It("tells the moment that separates old from new", func() {
		policy()
		cutoff, err := time.Parse(time.RFC3339Nano, result(run(true))["cutoff"].(string))
		Expect(err).NotTo(HaveOccurred())
		Expect(cutoff).To(BeTemporally("~", time.Now().Add(-2*day), time.Minute))
	})

	It("looks at the outcomes of its policy", func() {
		policy("outcomes", []string{"failure"})
		run(false)
		Expect(resourceIDs(c.list(stream, "order=asc"))).To(ConsistOf("a", "c", "d"))
	})

	It("looks at the actions of its policy", func() {
		policy("action_prefix", "login.")
		run(false)
		Expect(resourceIDs(c.list(stream, "order=asc"))).To(ConsistOf("a", "b", "d"))
	})

	It("leaves out a disabled policy", func() {
		policy("enabled", false)
		Expect(run(false).JSON()["results"]).To(BeEmpty())
	})

	It("tries a disabled policy in a dry run", func() {
		policy("enabled", false)
		Expect(result(run(true))["matched"]).To(BeEquivalentTo(3))
	})

	It("counts events on hold", func() {
		policy()
		held := c.list(stream, "resource_id=a")[0]
		c.do(http.MethodPut, path(held)+"/hold", object{"reason": "audit"}, header{"If-Match", "*"})
		Expect(result(run(false))).To(SatisfyAll(HaveKeyWithValue("held", 1.0), HaveKeyWithValue("deleted", 2.0)))
	})

	It("can be read again", func() {
		policy()
		a := run(false)
		Expect(c.get(a.Header.Get("Location")).JSON()).To(Equal(a.JSON()))
	})

	It("is the first in the list", func() {
		policy()
		id := run(true).JSON()["id"]
		Expect(c.get(runsPath + "?limit=1").Items()).To(HaveExactElements(HaveKeyWithValue("id", id)))
	})

	It("covers all policies if it names none", func() {
		policy()
		names := []any{}
		for _, r := range objects(c.post(runsPath, object{"dry_run": true}).JSON()["results"]) {
			names = append(names, r["policy"])
		}
		Expect(names).To(ContainElement(name))
	})

	It("refuses a policy that does not exist", func() {
		p := beProblem(run(false), http.StatusUnprocessableEntity, "validation-failed")
		Expect(p["errors"]).To(HaveExactElements(HaveKeyWithValue("detail", fmt.Sprintf("there is no policy %q", name))))
	})

	It("cannot be read under an unknown id", func() {
		beProblem(c.get(runsPath+"/unknown"), http.StatusNotFound, "not-found")
	})

	It("refuses a bad page size for the list", func() {
		beProblem(c.get(runsPath+"?limit=-1"), http.StatusBadRequest, "invalid-query")
	})
})
