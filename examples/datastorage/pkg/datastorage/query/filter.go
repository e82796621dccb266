// Package query turns URL parameters into a filter over events.
package query

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Filter selects events. An empty member does not restrict anything; the
// members restrict together, the values of one member are alternatives.
type Filter struct {
	Streams       []string          `json:"stream,omitempty"`
	ActorTypes    []string          `json:"actor_type,omitempty"`
	ActorID       string            `json:"actor_id,omitempty"`
	Actions       []string          `json:"action,omitempty"`
	ActionPrefix  string            `json:"action_prefix,omitempty"`
	ResourceType  string            `json:"resource_type,omitempty"`
	ResourceID    string            `json:"resource_id,omitempty"`
	Namespace     string            `json:"namespace,omitempty"`
	Outcomes      []string          `json:"outcome,omitempty"`
	Severities    []string          `json:"severity,omitempty"`
	CorrelationID string            `json:"correlation_id,omitempty"`
	Text          string            `json:"q,omitempty"`
	Labels        map[string]string `json:"label,omitempty"`
	From          time.Time         `json:"from,omitzero"`
	To            time.Time         `json:"to,omitzero"`
	OnHold        *bool             `json:"on_hold,omitempty"`
}

// Fingerprint is a short text that two filters share if and only if they
// select the same events.
func (f Filter) Fingerprint() (string, error) {
	for _, list := range []*[]string{&f.Streams, &f.ActorTypes, &f.Actions, &f.Outcomes, &f.Severities} {
		sorted := slices.Clone(*list)
		slices.Sort(sorted)
		*list = slices.Compact(sorted)
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("encode filter: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:6]), nil
}
