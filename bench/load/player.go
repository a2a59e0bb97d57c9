package load

import (
	"context"
	"fmt"
	"sync"

	"sluice/bench/wire"
)

// Players play a published stream. Make them with NewPlayers.
type Players struct {
	mu      sync.Mutex // held while the connections are swept
	players []*player
}

// A player is one connection.
type player struct {
	conn  *wire.RTMP
	ended bool
	tally tally
}

// NewPlayers connects n players to a server on a port of the loopback, and
// tries until ctx is done.
func NewPlayers(ctx context.Context, n, port int) (*Players, error) {
	p := &Players{players: make([]*player, n)}
	err := together(n, func(i int) error {
		conn, err := insist(ctx, port, wire.Play)
		if err == nil {
			p.players[i] = &player{conn: conn}
		}
		return err
	})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("players: %w", err)
	}
	return p, nil
}

func (p *Players) close() {
	for _, one := range p.players {
		if one != nil {
			one.conn.Close()
		}
	}
}

// Run receives until ctx is done, and closes the connections.
func (p *Players) Run(ctx context.Context) {
	defer p.close()
	buffer := make([]byte, 256<<10)
	sweep(ctx, &p.mu, len(p.players), func(i int) {
		if one := p.players[i]; !one.ended {
			one.ended = one.conn.Poll(buffer, one.take) != nil
		}
	})
}

// take counts the payloads of a frame.
func (p *player) take(m wire.Message, at int64) {
	const header = avcHeader + nalHeader
	if m.Type != wire.Video || len(m.Payload) < header {
		return
	}
	for b := m.Payload[header:]; len(b) >= PayloadSize; b = b[PayloadSize:] {
		if n, sent, ok := readText(b); ok {
			p.tally.count(n, sent, at, PayloadSize)
		}
	}
}

// Begin counts anew.
func (p *Players) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.players {
		one.tally.begin()
	}
}

// Received returns what was counted.
func (p *Players) Received() Received {
	p.mu.Lock()
	defer p.mu.Unlock()
	var tallies []*tally
	for _, one := range p.players {
		tallies = append(tallies, &one.tally)
	}
	return sum(tallies)
}
