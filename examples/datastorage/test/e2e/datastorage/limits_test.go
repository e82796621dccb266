package datastorage_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// parallel runs f n times at once and returns the answers.
func parallel(n int, f func(i int) (answer, error)) []answer {
	GinkgoHelper()
	answers, errs := make([]answer, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i], errs[i] = f(i) })
	}
	wg.Wait()
	for _, err := range errs {
		Expect(err).NotTo(HaveOccurred())
	}
	return answers
}

// statuses counts answers by status.
func statuses(answers []answer) map[int]int {
	counts := map[int]int{}
	for _, a := range answers {
		counts[a.Status]++
	}
	return counts
}

var _ = Describe("The rate limit", func() {
	var c *client
	BeforeEach(func() { c = newClient() })

	// exhaust sends requests until one is refused.
	exhaust := func() (refused answer) {
		GinkgoHelper()
		Eventually(func() int {
			refused = c.get(runsPath + "?limit=1")
			return refused.Status
		}).WithTimeout(20 * time.Second).WithPolling(time.Microsecond).Should(Equal(http.StatusTooManyRequests))
		return refused
	}

	It("tells a client what it has left", func() {
		first := c.get(policiesPath).Header
		Expect(first.Get("RateLimit-Limit")).To(Equal("60"))
		Expect(first.Get("RateLimit-Remaining")).To(Equal("59"))
		// The allowance grows with time, so a single request may cost nothing.
		Eventually(func() (int, error) {
			return strconv.Atoi(c.get(policiesPath).Header.Get("RateLimit-Remaining"))
		}).WithTimeout(20 * time.Second).WithPolling(time.Microsecond).Should(BeNumerically("<", 50))
	})

	It("refuses a client that sends too much and tells when to come back", func() {
		refused := exhaust()
		p := beProblem(refused, http.StatusTooManyRequests, "rate-limited")
		Expect(p["detail"]).To(Equal("at most 25 requests per second are allowed"))
		seconds, err := strconv.Atoi(refused.Header.Get("Retry-After"))
		Expect(err).NotTo(HaveOccurred())
		Expect(seconds).To(BeNumerically(">=", 1))
	})

	It("gives the allowance back in time", func() {
		exhaust()
		Eventually(func() int { return c.get(policiesPath).Status }).WithTimeout(5 * time.Second).WithPolling(20 * time.Millisecond).Should(Equal(http.StatusOK))
	})

	It("does not touch other clients", func() {
		exhaust()
		Expect(newClient().get(policiesPath).Status).To(Equal(http.StatusOK))
	})

	It("does not touch health and metrics", func() {
		exhaust()
		Expect(c.get("/readyz").Status).To(Equal(http.StatusOK))
		Expect(c.get("/metrics").Status).To(Equal(http.StatusOK))
	})

	It("knows a client without an id by its address", func() {
		a := c.get(policiesPath, header{"X-Client-Id", ""})
		Expect(a.Header.Get("RateLimit-Remaining")).NotTo(BeEmpty())
		Expect(c.get(policiesPath).Header.Get("RateLimit-Remaining")).To(Equal("59"))
	})
})

var _ = Describe("Requests at the same time", func() {
	var c *client
	var stream string
	BeforeEach(func() { c, stream = newClient(), unique("parallel") })

	It("leave a chain without gaps and forks", func() {
		answers := parallel(30, func(i int) (answer, error) {
			return c.try(http.MethodPost, eventsPath, event(stream, "resource.id", fmt.Sprint(i)))
		})
		Expect(statuses(answers)).To(Equal(map[int]int{http.StatusCreated: 30}))
		report := c.get("/api/v1/audit/streams/" + stream + "/verify").JSON()
		Expect(report).To(SatisfyAll(HaveKeyWithValue("valid", true), HaveKeyWithValue("links", 30.0)))
	})

	It("do not deadlock when batches cross streams", func() {
		other := unique("parallel")
		answers := parallel(16, func(i int) (answer, error) {
			events := []object{event(stream), event(other)}
			if i%2 == 1 {
				events[0], events[1] = events[1], events[0]
			}
			return c.try(http.MethodPost, batchPath, object{"events": events})
		})
		Expect(statuses(answers)).To(Equal(map[int]int{http.StatusCreated: 16}))
	})

	It("let one of several changes over a version win", func() {
		e := c.create(event(stream))
		answers := parallel(8, func(i int) (answer, error) {
			return c.try(http.MethodPut, path(e)+"/hold", object{"reason": fmt.Sprint("case ", i)}, header{"If-Match", `"1"`})
		})
		Expect(statuses(answers)).To(Equal(map[int]int{http.StatusOK: 1, http.StatusPreconditionFailed: 7}))
	})

	It("create a policy once", func() {
		address := policiesPath + "/" + unique("policy")
		answers := parallel(8, func(int) (answer, error) {
			return c.try(http.MethodPut, address, object{"max_age": "P1D"}, header{"If-None-Match", "*"})
		})
		Expect(statuses(answers)).To(Equal(map[int]int{http.StatusCreated: 1, http.StatusPreconditionFailed: 7}))
		Expect(c.do(http.MethodDelete, address, nil, header{"If-Match", "*"}).Status).To(Equal(http.StatusNoContent))
	})

	It("with one id store one event", func() {
		id := c.create(event(unique("other")))["id"].(string)
		id = id[:24] + "0000000000aa"
		answers := parallel(8, func(int) (answer, error) {
			return c.try(http.MethodPost, eventsPath, event(stream, "id", id))
		})
		Expect(statuses(answers)).To(Equal(map[int]int{http.StatusCreated: 1, http.StatusConflict: 7}))
	})

	It("with one idempotency key store one event", func() {
		key := header{"Idempotency-Key", unique("key")}
		parallel(8, func(int) (answer, error) { return c.try(http.MethodPost, eventsPath, event(stream), key) })
		Expect(c.list(stream, "")).To(HaveLen(1))
	})
})
