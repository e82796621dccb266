package datastorage_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Paging through events", func() {
	var c *client
	var stream string
	BeforeEach(func() {
		c, stream = newClient(), unique("page")
		var events []object
		for i := range 7 {
			// Two events share each moment, so that the id has to decide.
			at := time.Date(2026, 4, 1, 0, i/2, 0, 0, time.UTC).Format(time.RFC3339)
			events = append(events, event(stream, "resource.id", fmt.Sprint(i), "occurred_at", at))
		}
		c.createAll(events...)
	})

	// walk follows cursors and returns the pages.
	walk := func(parameters string) (pages [][]string) {
		GinkgoHelper()
		cursor := ""
		for len(pages) < 10 {
			a := c.get(eventsPath + "?stream=" + stream + "&" + parameters + cursor)
			Expect(a.Status).To(Equal(http.StatusOK), "body: %s", a.Body)
			pages = append(pages, resourceIDs(a.Items()))
			next, more := a.JSON()["next_cursor"].(string)
			if !more {
				break
			}
			cursor = "&cursor=" + next
		}
		return pages
	}

	It("starts with the newest event", func() {
		Expect(walk("limit=3")).To(Equal([][]string{{"6", "5", "4"}, {"3", "2", "1"}, {"0"}}))
	})

	It("can start with the oldest event", func() {
		Expect(walk("limit=3&order=asc")).To(Equal([][]string{{"0", "1", "2"}, {"3", "4", "5"}, {"6"}}))
	})

	It("ends without a cursor if the last page is full", func() {
		Expect(walk("limit=7")).To(HaveLen(1))
	})

	It("keeps the filters from page to page", func() {
		Expect(walk("limit=1&from=2026-04-01T00:02:00Z&to=2026-04-01T00:03:00Z")).To(Equal([][]string{{"5"}, {"4"}}))
	})

	It("is not disturbed by events that arrive meanwhile", func() {
		first := c.get(eventsPath + "?stream=" + stream + "&limit=4")
		c.create(event(stream, "resource.id", "new"))
		second := c.get(eventsPath + "?stream=" + stream + "&limit=4&cursor=" + first.JSON()["next_cursor"].(string))
		Expect(resourceIDs(second.Items())).To(Equal([]string{"2", "1", "0"}))
	})

	It("links to the next page", func() {
		link := c.get(eventsPath + "?limit=6&stream=" + stream).Header.Get("Link")
		Expect(link).To(HaveSuffix(`; rel="next"`))
		target, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		Expect(resourceIDs(c.get(target).Items())).To(Equal([]string{"0"}))
	})

	It("has no link on the last page", func() {
		Expect(c.get(eventsPath + "?stream=" + stream).Header).NotTo(HaveKey("Link"))
	})

	It("counts all matching events if asked to", func() {
		a := c.get(eventsPath + "?limit=2&count=true&stream=" + stream)
		Expect(a.JSON()["total"]).To(BeEquivalentTo(7))
	})

	It("does not count unless asked to", func() {
		Expect(c.get(eventsPath + "?limit=2&count=false&stream=" + stream).JSON()).NotTo(HaveKey("total"))
	})

	DescribeTable("refuses a cursor",
		func(change func(cursor string) string, parameters, reason string) {
			cursor := c.get(eventsPath + "?limit=2&stream=" + stream).JSON()["next_cursor"].(string)
			p := beProblem(c.get(eventsPath+"?limit=2&stream="+stream+parameters+"&cursor="+change(cursor)), http.StatusBadRequest, "invalid-cursor")
			Expect(p["detail"]).To(ContainSubstring(reason))
		},
		Entry("that is no cursor", func(string) string { return "!" }, "", "base64url"),
		Entry("that is damaged", func(s string) string { return s[:len(s)/2] }, "", "damaged"),
		Entry("of another list", func(s string) string { return s }, "&outcome=success", "other filters"),
		Entry("of the other order", func(s string) string { return s }, "&order=asc", `order "desc"`),
		Entry("of a future version", func(string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"v":2}`))
		}, "", "version 2"),
		Entry("that names no event", func(string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"i":"x"}`))
		}, "", "names no item"),
	)
})
