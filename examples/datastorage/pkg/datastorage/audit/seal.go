package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
)

// Genesis is the previous hash of the first event of every stream.
const Genesis = "0000000000000000000000000000000000000000000000000000000000000000"

// Seal appends the event to its stream: it sets the sequence number, the
// previous hash and the event's own hash.
func (e *Event) Seal(sequence int64, prevHash string) {
	e.Sequence = sequence
	e.PrevHash = prevHash
	e.Hash = e.Digest()
}

// Digest computes the hash over every immutable field. Each field is written
// with its length in front, so that no two different events share an encoding.
func (e *Event) Digest() string {
	h := sha256.New()
	writeField(h, e.PrevHash)
	writeNumber(h, e.Sequence)
	writeField(h, e.ID)
	writeField(h, e.Stream)
	writeNumber(h, e.OccurredAt.UnixMicro())
	writeNumber(h, e.RecordedAt.UnixMicro())
	for _, field := range []string{
		e.Actor.Type, e.Actor.ID, e.Actor.IP,
		e.Action,
		e.Resource.Type, e.Resource.ID, e.Resource.Namespace,
		string(e.Outcome), string(e.Severity), e.CorrelationID, e.Message,
	} {
		writeField(h, field)
	}
	keys := slices.Sorted(maps.Keys(e.Labels))
	writeNumber(h, int64(len(keys)))
	for _, key := range keys {
		writeField(h, key)
		writeField(h, e.Labels[key])
	}
	writeField(h, string(e.Payload))
	return hex.EncodeToString(h.Sum(nil))
}

func writeField(h hash.Hash, s string) {
	writeNumber(h, int64(len(s)))
	h.Write([]byte(s))
}

func writeNumber(h hash.Hash, n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}
