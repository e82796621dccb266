// Package ident makes and checks the identifiers of events, requests and
// retention runs: version 7 UUIDs, which sort by the time they were made.
package ident

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Length is the number of characters of an identifier in text form.
const Length = 36

// Generator makes identifiers that increase strictly, also within one
// millisecond. It is safe for use by several goroutines.
type Generator struct {
	mu     sync.Mutex
	now    func() time.Time
	random io.Reader
	lastMs int64
	count  uint16
}

// NewGenerator returns a generator over the given clock.
func NewGenerator(now func() time.Time) *Generator {
	return &Generator{now: now, random: rand.Reader}
}

// New returns the next identifier. It fails only if the system has no
// randomness to give.
func (g *Generator) New() (string, error) {
	var tail [8]byte
	if _, err := io.ReadFull(g.random, tail[:]); err != nil {
		return "", fmt.Errorf("read randomness for an identifier: %w", err)
	}
	ms, count := g.tick()

	var b [16]byte
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	b[6] = 0x70 | byte(count>>8)
	b[7] = byte(count)
	copy(b[8:], tail[:])
	b[8] = b[8]&0x3f | 0x80
	return format(b), nil
}

// tick returns the millisecond and the 12-bit counter of the next identifier.
// When the counter is used up or the clock went back, time is pushed forward.
func (g *Generator) tick() (int64, uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ms := g.now().UnixMilli()
	switch {
	case ms > g.lastMs:
		g.lastMs, g.count = ms, 0
	case g.count < 0x0fff:
		g.count++
	default:
		g.lastMs, g.count = g.lastMs+1, 0
	}
	return g.lastMs, g.count
}

func format(b [16]byte) string {
	s := hex.EncodeToString(b[:])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// Valid reports whether s is a UUID in its lower-case text form.
func Valid(s string) bool {
	if len(s) != Length {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isLowerHex(c) {
				return false
			}
		}
	}
	return true
}

// Time is the moment a version 7 identifier was made, in milliseconds. The
// second result is false for identifiers of other versions.
func Time(id string) (time.Time, bool) {
	if !Valid(id) || id[14] != '7' {
		return time.Time{}, false
	}
	b, err := hex.DecodeString(id[:8] + id[9:13])
	if err != nil {
		return time.Time{}, false
	}
	var ms int64
	for _, v := range b {
		ms = ms<<8 | int64(v)
	}
	return time.UnixMilli(ms).UTC(), true
}

func isLowerHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
}
