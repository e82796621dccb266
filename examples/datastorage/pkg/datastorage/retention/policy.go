// Package retention removes events when they are old enough, by named
// policies, unless a hold protects them.
package retention

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/problem"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/validation"
)

// Age is a duration that reads ISO 8601 ("P30D", "PT12H", "P2W") as well as
// Go's own form ("720h") and writes ISO 8601.
type Age time.Duration

const day = 24 * time.Hour

var isoDuration = regexp.MustCompile(`^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// units are the factors of isoDuration's groups.
var units = []time.Duration{7 * day, day, time.Hour, time.Minute, time.Second}

// ParseAge reads an age.
func ParseAge(text string) (Age, error) {
	if !strings.HasPrefix(text, "P") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as P30D or 720h", text)
		}
		return Age(d), nil
	}
	groups := isoDuration.FindStringSubmatch(text)
	if groups == nil || strings.HasSuffix(text, "T") || text == "P" {
		return 0, fmt.Errorf("%q is not an ISO 8601 duration of weeks, days, hours, minutes and seconds", text)
	}
	var total time.Duration
	for i, group := range groups[1:] {
		if group == "" {
			continue
		}
		n, err := strconv.ParseInt(group, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%q has a number that is too large", text)
		}
		total += time.Duration(n) * units[i]
	}
	return Age(total), nil
}

// String returns the ISO 8601 form, in days, hours, minutes and seconds.
func (a Age) String() string {
	rest := time.Duration(a)
	if rest <= 0 {
		return "PT0S"
	}
	var b strings.Builder
	b.WriteByte('P')
	if days := rest / day; days > 0 {
		fmt.Fprintf(&b, "%dD", days)
		rest -= days * day
	}
	if rest < time.Second {
		return b.String()
	}
	b.WriteByte('T')
	for _, part := range []struct {
		unit   time.Duration
		letter byte
	}{{time.Hour, 'H'}, {time.Minute, 'M'}, {time.Second, 'S'}} {
		if n := rest / part.unit; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, part.letter)
			rest -= n * part.unit
		}
	}
	return b.String()
}

// MarshalJSON writes the ISO 8601 form.
func (a Age) MarshalJSON() ([]byte, error) {
	return json.Marshal(a.String())
}

// UnmarshalJSON reads a string as ParseAge does.
func (a *Age) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	parsed, err := ParseAge(text)
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// MinAge is the shortest age that a policy may name, so that a slip does not
// remove events that have just been written.
const MinAge = Age(time.Minute)

// Policy says which events go, and when.
type Policy struct {
	Name         string    `json:"name"`
	Description  string    `json:"description,omitempty"`
	Enabled      bool      `json:"enabled"`
	MaxAge       Age       `json:"max_age"`
	Streams      []string  `json:"streams,omitempty"`
	ActionPrefix string    `json:"action_prefix,omitempty"`
	Outcomes     []string  `json:"outcomes,omitempty"`
	UpdatedAt    time.Time `json:"updated_at"`
	Version      int64     `json:"version"`
}

// Check returns what is wrong with a submitted policy.
func (p Policy) Check() []problem.FieldError {
	c := validation.NewCollector("")
	c.Text("/description", p.Description, false, 500)
	if p.MaxAge < MinAge {
		c.Add("/max_age", validation.CodeOutOfRange, "must be at least %s", MinAge)
	}
	for i, stream := range p.Streams {
		c.Text(fmt.Sprintf("/streams/%d", i), stream, true, 63)
	}
	for i, outcome := range p.Outcomes {
		c.OneOf(fmt.Sprintf("/outcomes/%d", i), outcome, true, audit.Outcomes())
	}
	if p.ActionPrefix != "" && !strings.HasSuffix(p.ActionPrefix, ".") {
		c.Add("/action_prefix", validation.CodePattern, "must end with a dot")
	}
	return c.Faults()
}

// Cutoff is the moment before which the policy's events go.
func (p Policy) Cutoff(now time.Time) time.Time {
	return now.Add(-time.Duration(p.MaxAge)).UTC().Truncate(time.Microsecond)
}

// Filter selects the policy's events that are old enough at the given time.
func (p Policy) Filter(now time.Time) query.Filter {
	return query.Filter{
		Streams:      p.Streams,
		ActionPrefix: p.ActionPrefix,
		Outcomes:     p.Outcomes,
		To:           p.Cutoff(now),
	}
}
