package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// baseline is the last bench of the product whose SRT connections were
// gosrt's: of each row that has a goal the relays that it compares, and of
// each run what the goals are made of.
//
//go:embed baseline.json
var baseline []byte

// Baseline returns what was measured before.
func Baseline() (*File, error) {
	f := &File{}
	if err := json.Unmarshal(baseline, f); err != nil {
		return nil, fmt.Errorf("baseline.json: %w", err)
	}
	return f, nil
}
