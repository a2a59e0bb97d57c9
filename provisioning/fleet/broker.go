package fleet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Passwords are those of the users who may connect, by name.
type Passwords map[string][sha256.Size]byte

// ReadPasswords reads a file of NAME:PASSWORD lines.
func ReadPasswords(path string) (Passwords, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("passwords: %w", err)
	}
	defer f.Close()
	all := make(Passwords)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		if !ok || name == "" || password == "" {
			return nil, fmt.Errorf("%s:%d: this is not NAME:PASSWORD", path, n)
		}
		all[name] = sha256.Sum256([]byte(password))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("passwords: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no NAME:PASSWORD line", path)
	}
	return all, nil
}

// match compares in constant time.
func (p Passwords) match(name string, password []byte) bool {
	want, known := p[name]
	got := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && known
}

// A Broker is a small MQTT broker, for a demonstration or a small site: every
// user may read and write every topic.
type Broker struct {
	// Passwords of the users. Nil: everyone may connect, without a name.
	Passwords Passwords
	// State is the directory in which retained messages are kept. Empty: they
	// are forgotten at the end.
	State string
	Log   *slog.Logger
}

// most of what one client may make the broker hold
const (
	maxPacket  = 1 << 20
	maxClients = 2 * maxBoxes
	maxPending = 1024 // messages that wait for a slow client
)

// Serve answers on l until ctx is done, and closes it. What boxes publish is
// given to boxes.
func (b *Broker) Serve(ctx context.Context, l net.Listener, boxes *Boxes) error {
	o := &mochi.Options{Logger: b.Log, InlineClient: true, Capabilities: mochi.NewDefaultServerCapabilities()}
	c := o.Capabilities
	c.MaximumPacketSize, c.MaximumClients, c.MaximumClientWritesPending = maxPacket, maxClients, maxPending
	c.MaximumMessageExpiryInterval = 0 // a retained document is good for ever
	s := mochi.New(o)
	if err := s.AddHook(&guard{passwords: b.Passwords}, nil); err != nil {
		l.Close()
		return fmt.Errorf("broker: %w", err)
	}
	var kept *retained
	if b.State != "" {
		kept = &retained{path: b.State + "/retained.json"}
		if err := kept.load(s); err != nil {
			l.Close()
			return fmt.Errorf("broker: %w", err)
		}
	}
	err := s.AddListener(listeners.NewNet("mqtt", l))
	for i, filter := range Filters {
		err = errors.Join(err, s.Subscribe(filter, i+1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
			boxes.Receive(p.TopicName, p.Payload)
		}))
	}
	if err == nil {
		err = s.Serve()
	}
	if err != nil {
		l.Close()
		return fmt.Errorf("broker: %w", err)
	}
	if kept != nil {
		kept.keep(ctx, s, b.Log) // until ctx is done
	}
	<-ctx.Done()
	if err := s.Close(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if kept != nil {
		if err := kept.save(s); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	return ctx.Err()
}

// guard says who may connect.
type guard struct {
	mochi.HookBase
	passwords Passwords
}

func (g *guard) ID() string { return "guard" }

func (g *guard) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck}, b) >= 0
}

func (g *guard) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return g.passwords == nil || g.passwords.match(string(p.Connect.Username), p.Connect.Password)
}

func (g *guard) OnACLCheck(*mochi.Client, string, bool) bool { return true }
