// Package validation checks what clients submit. It reports every fault it
// finds, each with a JSON pointer to the member at fault, instead of stopping
// at the first.
package validation

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"covtap.example/datastorage/pkg/datastorage/problem"
)

// Codes of faults, stable for clients.
const (
	CodeRequired   = "required"
	CodeTooLong    = "too_long"
	CodeTooMany    = "too_many"
	CodePattern    = "pattern"
	CodeNotAllowed = "not_allowed"
	CodeOutOfRange = "out_of_range"
	CodeFormat     = "format"
)

var (
	nameRule   = regexp.MustCompile(`^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$`)
	actionRule = regexp.MustCompile(`^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+$`)
	labelRule  = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$`)
)

// Collector gathers faults under a JSON pointer prefix.
type Collector struct {
	prefix string
	faults []problem.FieldError
}

// NewCollector returns a collector whose pointers start with prefix.
func NewCollector(prefix string) *Collector {
	return &Collector{prefix: prefix}
}

// Add records a fault at a pointer relative to the collector's prefix.
func (c *Collector) Add(pointer, code, format string, args ...any) {
	c.faults = append(c.faults, problem.FieldError{
		Pointer: c.prefix + pointer,
		Code:    code,
		Detail:  fmt.Sprintf(format, args...),
	})
}

// Faults returns what was recorded, in order; nil means that all is well.
func (c *Collector) Faults() []problem.FieldError {
	return c.faults
}

// Text checks a string: present if required, at most max characters long and
// without control characters other than tab and line feed.
func (c *Collector) Text(pointer, value string, required bool, max int) bool {
	if value == "" {
		if required {
			c.Add(pointer, CodeRequired, "must not be empty")
		}
		return !required
	}
	if !utf8.ValidString(value) {
		c.Add(pointer, CodeFormat, "must be valid UTF-8")
		return false
	}
	if n := utf8.RuneCountInString(value); n > max {
		c.Add(pointer, CodeTooLong, "has %d characters, at most %d are allowed", n, max)
		return false
	}
	if i := strings.IndexFunc(value, isForbiddenControl); i >= 0 {
		c.Add(pointer, CodePattern, "contains a control character at byte %d", i)
		return false
	}
	return true
}

// Match checks a non-empty string against a rule that is described in words.
func (c *Collector) Match(pointer, value string, rule *regexp.Regexp, words string) {
	if value != "" && !rule.MatchString(value) {
		c.Add(pointer, CodePattern, "must be %s", words)
	}
}

// OneOf checks that a string is among the allowed ones.
func (c *Collector) OneOf(pointer, value string, required bool, allowed []string) {
	if value == "" {
		if required {
			c.Add(pointer, CodeRequired, "must be one of %s", strings.Join(allowed, ", "))
		}
		return
	}
	if !slices.Contains(allowed, value) {
		c.Add(pointer, CodeNotAllowed, "must be one of %s", strings.Join(allowed, ", "))
	}
}

// Address checks an IP address; the empty string is fine.
func (c *Collector) Address(pointer, value string) {
	if value == "" {
		return
	}
	if _, err := netip.ParseAddr(value); err != nil {
		c.Add(pointer, CodeFormat, "must be an IPv4 or IPv6 address")
	}
}

// Between checks that a moment lies in a range, both ends included.
func (c *Collector) Between(pointer string, value, earliest, latest time.Time) {
	switch {
	case value.Before(earliest):
		c.Add(pointer, CodeOutOfRange, "must not be before %s", earliest.UTC().Format(time.RFC3339))
	case value.After(latest):
		c.Add(pointer, CodeOutOfRange, "must not be after %s", latest.UTC().Format(time.RFC3339))
	}
}

func isForbiddenControl(r rune) bool {
	return unicode.IsControl(r) && r != '\t' && r != '\n'
}
