package datastorage_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("An export", func() {
	var c *client
	var stream, target string
	BeforeEach(func() {
		c, stream = newClient(), unique("export")
		target = exportPath + "?stream=" + stream
	})

	lines := func(a answer) (events []object) {
		GinkgoHelper()
		for line := range bytes.Lines(a.Body) {
			var e object
			Expect(json.Unmarshal(line, &e)).To(Succeed())
			events = append(events, e)
		}
		return events
	}
	rows := func(a answer) [][]string {
		GinkgoHelper()
		out, err := csv.NewReader(bytes.NewReader(a.Body)).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		return out
	}
	asCSV := header{"Accept", "text/csv"}

	It("is one JSON object a line, oldest first", func() {
		c.createAll(event(stream, "resource.id", "new"), event(stream, "resource.id", "old", "occurred_at", ago(day)))
		a := c.get(target)
		Expect(a.Header.Get("Content-Type")).To(Equal("application/x-ndjson"))
		Expect(resourceIDs(lines(a))).To(Equal([]string{"old", "new"}))
	})

	It("has more events than a page", func() {
		for batch := range 5 {
			var events []object
			for i := range 50 {
				events = append(events, event(stream, "resource.id", fmt.Sprint(batch*50+i)))
			}
			c.createAll(events...)
		}
		seen := map[string]bool{}
		for _, id := range resourceIDs(lines(c.get(target))) {
			seen[id] = true
		}
		Expect(seen).To(HaveLen(250))
	})

	It("tells the number of events at its end", func() {
		c.createAll(event(stream), event(stream), event(stream))
		Expect(c.get(target).Trailer.Get("X-Event-Count")).To(Equal("3"))
	})

	It("is a table for those who want one", func() {
		c.create(event(stream, "message", "a \"quoted\", line\nand another", "labels", object{"b": "2", "a": "1"}))
		a := c.get(target, asCSV)
		Expect(a.Header.Get("Content-Type")).To(HavePrefix("text/csv"))
		table := rows(a)
		Expect(table[0]).To(HaveExactElements("id", "stream", "sequence", "occurred_at", "actor_type", "actor_id", "action", "resource_type",
			"resource_id", "namespace", "outcome", "severity", "correlation_id", "message", "labels", "hash"))
		Expect(table[1][13:15]).To(Equal([]string{"a \"quoted\", line\nand another", "a=1;b=2"}))
	})

	It("keeps its head when a table is empty", func() {
		Expect(rows(c.get(target, asCSV))).To(HaveLen(1))
	})

	It("cannot smuggle formulas into a spreadsheet", func() {
		c.create(event(stream, "resource.id", "=1+1", "message", "-2+3"))
		row := rows(c.get(target, asCSV))[1]
		Expect(row[8]).To(Equal("'=1+1"))
		Expect(row[13]).To(Equal("'-2+3"))
	})

	DescribeTable("negotiates the format",
		func(accept, contentType string) {
			Expect(c.get(target, header{"Accept", accept}).Header.Get("Content-Type")).To(HavePrefix(contentType))
		},
		Entry("by weight", "application/x-ndjson;q=0.5, text/csv;q=0.9", "text/csv"),
		Entry("with a wildcard", "image/png, */*;q=0.1", "application/x-ndjson"),
		Entry("with a partial wildcard", "text/*", "text/csv"),
		Entry("past a range that is none", ";;, application/x-ndjson", "application/x-ndjson"),
	)

	It("refuses formats that it does not have", func() {
		beProblem(c.get(target, header{"Accept", "application/xml, text/csv;q=0"}), http.StatusNotAcceptable, "not-acceptable")
	})

	It("refuses a faulty filter before it sends anything", func() {
		beProblem(c.get(target+"&limit=5"), http.StatusBadRequest, "invalid-query")
	})

	It("sends only the headers for HEAD", func() {
		c.create(event(stream))
		a := c.do(http.MethodHead, target, nil)
		Expect(a.Header.Get("Vary")).To(Equal("Accept"))
		Expect(a.Body).To(BeEmpty())
	})
})
