// Package pagination walks through long lists with opaque cursors. A cursor
// names the last item of a page, so pages stay stable while items are added.
package pagination

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"covtap.example/datastorage/pkg/datastorage/ident"
)

// Bounds of the page size, in items.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// ErrCursor is wrapped by every reason why a cursor cannot be used.
var ErrCursor = errors.New("cursor cannot be used")

// Direction is the order in which a list is walked.
type Direction string

// Newest first is what people look for in an audit trail; oldest first is
// what exports need.
const (
	NewestFirst Direction = "desc"
	OldestFirst Direction = "asc"
)

// Cursor names the last item of a page.
type Cursor struct {
	At          time.Time
	ID          string
	Direction   Direction
	Fingerprint string
}

// Page is a request for one page.
type Page struct {
	Limit     int
	Direction Direction
	After     *Cursor
}

// wireCursor is the encoded form; short names keep the text short.
type wireCursor struct {
	Version     int    `json:"v"`
	Micros      int64  `json:"t"`
	ID          string `json:"i"`
	Direction   string `json:"d"`
	Fingerprint string `json:"f"`
}

const wireVersion = 1

// Encode returns the cursor as text that is safe in a URL.
func (c Cursor) Encode() (string, error) {
	raw, err := json.Marshal(wireCursor{wireVersion, c.At.UnixMicro(), c.ID, string(c.Direction), c.Fingerprint})
	if err != nil {
		return "", fmt.Errorf("encode cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// Decode reads a cursor and checks that it belongs to a list with the given
// direction and filter fingerprint.
func Decode(text string, direction Direction, fingerprint string) (*Cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not base64url text", ErrCursor)
	}
	var wire wireCursor
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, fmt.Errorf("%w: its content is damaged", ErrCursor)
	}
	switch {
	case wire.Version != wireVersion:
		return nil, fmt.Errorf("%w: version %d is not supported", ErrCursor, wire.Version)
	case !ident.Valid(wire.ID):
		return nil, fmt.Errorf("%w: it names no item", ErrCursor)
	case wire.Direction != string(direction):
		return nil, fmt.Errorf("%w: it was made for order %q", ErrCursor, wire.Direction)
	case wire.Fingerprint != fingerprint:
		return nil, fmt.Errorf("%w: it was made for other filters", ErrCursor)
	}
	return &Cursor{time.UnixMicro(wire.Micros).UTC(), wire.ID, direction, wire.Fingerprint}, nil
}

// ParseLimit reads a page size; the empty string means the default.
func ParseLimit(text string) (int, error) {
	if text == "" {
		return DefaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("must be a whole number")
	}
	if n < 1 || n > MaxLimit {
		return 0, fmt.Errorf("must lie between 1 and %d", MaxLimit)
	}
	return n, nil
}

// NextLink is the Link header value that leads to the next page of u.
func NextLink(u *url.URL, cursor string) string {
	values := u.Query()
	values.Set("cursor", cursor)
	next := url.URL{Path: u.Path, RawQuery: values.Encode()}
	return fmt.Sprintf("<%s>; rel=\"next\"", next.String())
}
