package console

import (
	"context"
	"fmt"
	"time"
)

// banner is what a box says of itself to whoever presses Enter.
func (s *session) banner(ctx context.Context) string { return "Sluice\n" }

// remind tells of a commit that goes back unless it is confirmed.
func (s *session) remind(ctx context.Context) {
	if s.script {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var commits struct {
		Pending *pending `json:"pending"`
	}
	if s.document(ctx, "commits", &commits) == nil && commits.Pending != nil {
		s.printf("%s\n", commits.Pending)
	}
}

// A pending is a commit that is not confirmed yet.
type pending struct {
	ID        string    `json:"id"`
	Version   uint64    `json:"version"`
	By        string    `json:"by"`
	ConfirmBy time.Time `json:"confirm_by"`
	How       string    `json:"how"` // explicit or session
}

func (p *pending) String() string {
	return fmt.Sprintf("version %d goes back at %s unless confirmed: confirm", p.Version, clock(p.ConfirmBy))
}
