// Package integrity proves that nobody has changed, removed or inserted
// events: it follows the hash chain of a stream from its first link.
package integrity

import (
	"context"
	"fmt"

	"covtap.example/datastorage/pkg/datastorage/audit"
)

// Link is one link of a chain. Event is nil where retention has removed the
// event and only its hashes remain.
type Link struct {
	Sequence int64
	PrevHash string
	Hash     string
	Event    *audit.Event
}

// Source reads chains.
type Source interface {
	// Links returns the links of a stream after a sequence number, in order,
	// at most limit of them.
	Links(ctx context.Context, stream string, after int64, limit int) ([]Link, error)
}

// Break is the first place where a chain does not hold.
type Break struct {
	Sequence int64  `json:"sequence"`
	EventID  string `json:"event_id,omitempty"`
	Reason   string `json:"reason"`
}

// Report is the result of following one chain.
type Report struct {
	Stream  string `json:"stream"`
	Valid   bool   `json:"valid"`
	Links   int64  `json:"links"`
	Removed int64  `json:"removed"`
	Head    string `json:"head"`
	Break   *Break `json:"break,omitempty"`
}

// batch is how many links are read at once.
const batch = 200

// Verify follows the chain of a stream to its end or its first break.
func Verify(ctx context.Context, source Source, stream string) (Report, error) {
	report := Report{Stream: stream, Valid: true, Head: audit.Genesis}
	for {
		links, err := source.Links(ctx, stream, report.Links, batch)
		if err != nil {
			return report, fmt.Errorf("read chain of stream %s: %w", stream, err)
		}
		for _, link := range links {
			if broken := check(link, report); broken != nil {
				report.Valid = false
				report.Break = broken
				return report, nil
			}
			report.Links++
			report.Head = link.Hash
			if link.Event == nil {
				report.Removed++
			}
		}
		if len(links) < batch {
			return report, nil
		}
	}
}

// check compares a link with the chain so far.
func check(link Link, sofar Report) *Break {
	b := &Break{Sequence: link.Sequence}
	if link.Event != nil {
		b.EventID = link.Event.ID
	}
	switch {
	case link.Sequence != sofar.Links+1:
		b.Reason = fmt.Sprintf("sequence %d follows %d", link.Sequence, sofar.Links)
	case link.PrevHash != sofar.Head:
		b.Reason = "the previous hash is not the hash of the link before"
	case link.Event != nil && link.Event.Digest() != link.Hash:
		b.Reason = "the content of the event does not match its hash"
	default:
		return nil
	}
	return b
}
