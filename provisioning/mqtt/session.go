package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"sluice/relay/endpoint"
)

// window is how many messages are on their way at a time: enough to hide the
// round trip of a satellite, few enough to be sent again after a loss.
const window = 16

// A session is one connection, from CONNECT to its end. Paho's client is made
// anew for each: its own reconnecting knows neither refusals nor jitter.
type session struct {
	*Client
	target
	paho  paho.Client
	lost  chan error        // why the connection broke; capacity 1
	sent  map[string]*entry // what each retained topic was last given
	asked map[string]bool   // filters asked for, and whether granted
}

// attempt connects through the first dialer that reaches the broker, and
// returns when that session has ended, saying why.
func (c *Client) attempt(ctx context.Context, t target) error {
	dialers := []Dialer{{Name: "system", Dial: (&net.Dialer{}).DialContext}}
	if t.cfg.Dialers != nil {
		dialers = t.cfg.Dialers()
	}
	var will *Message
	if t.cfg.Presence != nil {
		m := t.cfg.Presence(Lost)
		will = &m
	}
	errs := []error{}
	for _, d := range dialers {
		s := &session{
			Client: c,
			target: t,
			lost:   make(chan error, 1),
			sent:   make(map[string]*entry),
			asked:  make(map[string]bool),
		}
		end, err := s.open(ctx, d.Dial, will)
		if err == nil {
			defer end()
			c.mu.Lock()
			c.status.Via = d.Name
			c.mu.Unlock()
			return s.run(ctx)
		}
		if r := (*refusal)(nil); errors.As(err, &r) || ctx.Err() != nil {
			return err // another way leads to the same answer
		}
		errs = append(errs, fmt.Errorf("%s: %w", d.Name, err))
	}
	if len(errs) == 0 {
		return errors.New("no uplink leads to the broker")
	}
	return errors.Join(errs...)
}

// open connects, and returns a function that closes whatever is left.
func (s *session) open(ctx context.Context, dial DialFunc, will *Message) (end func(), err error) {
	var (
		mu   sync.Mutex
		conn net.Conn
		why  error // of the transport: paho passes on its text alone
	)
	shut := func() {
		mu.Lock()
		defer mu.Unlock()
		if conn != nil {
			conn.Close()
		}
	}
	o := paho.NewClientOptions().
		AddBroker("tcp://" + s.broker.Host). // for its bookkeeping; the connection is ours
		SetClientID(s.cfg.ClientID).
		SetProtocolVersion(4). // no silent second attempt with MQTT 3.1
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetOrderMatters(true).
		SetKeepAlive(s.cfg.KeepAlive).
		SetPingTimeout(max(s.cfg.KeepAlive/2, time.Second)).
		SetConnectTimeout(s.cfg.Timeout).
		SetWriteTimeout(s.cfg.Timeout).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			dialCtx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
			defer cancel()
			opened, err := s.connect(dialCtx, dial)
			mu.Lock()
			defer mu.Unlock()
			conn, why = opened, err
			return opened, err
		}).
		SetConnectionLostHandler(func(_ paho.Client, err error) { s.lost <- err })
	if s.cfg.Username != "" {
		o.SetUsername(s.cfg.Username)
	}
	if s.cfg.Password.IsSet() {
		o.SetPassword(s.cfg.Password.Reveal())
	}
	if s.cfg.PasswordFile != "" {
		password, err := os.ReadFile(s.cfg.PasswordFile)
		if err != nil {
			return nil, refuse("broker_refused", "the broker's password: %v", err)
		}
		o.SetPassword(string(bytes.TrimRight(password, "\r\n")))
	}
	if will != nil {
		o.SetBinaryWill(will.Topic, will.Payload, will.QoS, will.Retained)
	}

	s.paho = paho.NewClient(o)
	stop := context.AfterFunc(ctx, shut)
	token := s.paho.Connect().(*paho.ConnectToken)
	<-token.Done() // the transport and the handshake have their own deadlines
	stop()
	end = func() { s.paho.Disconnect(0); shut() }
	switch err := token.Error(); {
	case ctx.Err() != nil:
		end()
		return nil, ctx.Err()
	case err == nil:
		return end, nil
	case why != nil:
		return nil, why
	default:
		shut()
		switch token.ReturnCode() {
		case packets.ErrRefusedBadUsernameOrPassword, packets.ErrRefusedNotAuthorised:
			return nil, refuse("broker_refused", "the broker refuses the user name or password")
		case packets.ErrRefusedIDRejected:
			return nil, refuse("broker_refused", "the broker refuses the client id %s", s.cfg.ClientID)
		case packets.ErrRefusedBadProtocolVersion:
			return nil, refuse("broker_refused", "the broker does not speak MQTT 3.1.1")
		}
		return nil, fmt.Errorf("MQTT with %s: %w", s.broker.Host, err)
	}
}

// run serves an open session until it breaks, or ctx is done.
func (s *session) run(ctx context.Context) error {
	s.out.beginSession()
	s.setStatus(true, false, nil)
	if err := s.present(ctx, Init); err != nil {
		return s.ended(ctx, err)
	}
	pause := backoff{min: s.cfg.MinBackoff, max: s.cfg.MaxBackoff}
	var again <-chan time.Time // when to ask for refused subscriptions
	ready := false
	for {
		refused, err := s.subscribe(ctx)
		if err == nil {
			err = s.flush(ctx)
		}
		switch {
		case err != nil:
			return s.ended(ctx, err)
		case len(refused) > 0:
			s.setStatus(true, false, endpoint.Because("subscription_refused",
				"the broker refuses the subscription to %s", strings.Join(refused, ", ")))
			if again == nil {
				again = time.After(pause.next())
			}
		default:
			if !ready {
				if err := s.present(ctx, Ready); err != nil {
					return s.ended(ctx, err)
				}
				ready = true
			}
			s.setStatus(true, true, nil)
		}
		select {
		case <-s.out.wake:
		case <-s.resub:
		case <-again:
			again = nil
			for filter, granted := range s.asked {
				if !granted {
					delete(s.asked, filter)
				}
			}
		case err := <-s.lost:
			return s.ended(ctx, err)
		case <-ctx.Done():
			return s.ended(ctx, ctx.Err())
		}
	}
}

// ended closes a session. One that ends because ctx is done says goodbye: what
// waits is sent, as far as that goes quickly, and the will is not.
func (s *session) ended(ctx context.Context, why error) error {
	if ctx.Err() == nil {
		return fmt.Errorf("the connection to %s broke: %w", s.broker.Host, why)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if s.flush(last) == nil && s.present(last, Gone) == nil {
		// It waits until DISCONNECT is written, or so many milliseconds: one
		// that is not written in time has the broker publish the will.
		s.paho.Disconnect(2000)
	}
	return ctx.Err()
}

// present publishes what the session tells of itself, and waits for the
// broker to have it.
func (s *session) present(ctx context.Context, p Presence) error {
	if s.cfg.Presence == nil {
		return nil
	}
	return s.publish(ctx, &entry{message: s.cfg.Presence(p)})
}

// subscribe asks for every filter that was not asked for in this session, and
// returns those that stand refused.
func (s *session) subscribe(ctx context.Context) (refused []string, err error) {
	filters := make(map[string]byte)
	s.mu.Lock()
	subs := slices.Clone(s.subs)
	s.mu.Unlock()
	for _, sub := range subs {
		if _, ok := s.asked[sub.filter]; ok {
			continue
		}
		filters[sub.filter] = sub.qos
		s.paho.AddRoute(sub.filter, func(_ paho.Client, m paho.Message) {
			sub.handler(Message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retained: m.Retained()})
		})
	}
	if len(filters) > 0 {
		token := s.paho.SubscribeMultiple(filters, nil).(*paho.SubscribeToken)
		if err := s.await(ctx, token); err != nil {
			return nil, fmt.Errorf("subscribing: %w", err)
		}
		// A refused subscription is no error to paho (MQTT 3.1.1 section 3.9.3).
		for filter, code := range token.Result() {
			s.asked[filter] = code != 0x80
		}
	}
	for filter, granted := range s.asked {
		if !granted {
			refused = append(refused, filter)
		}
	}
	slices.Sort(refused)
	return refused, nil
}

// flush sends until nothing waits.
func (s *session) flush(ctx context.Context) error {
	for {
		batch := s.out.take(window, s.sent)
		if len(batch) == 0 {
			return nil
		}
		err := s.publish(ctx, batch...)
		if err != nil {
			return err
		}
		for _, e := range batch {
			if e.message.Retained && e.done == nil {
				s.sent[e.message.Topic] = e
			}
			e.finish(nil)
		}
		s.out.forget(batch...)
	}
}

// publish sends messages and waits until the broker has all of them.
func (s *session) publish(ctx context.Context, batch ...*entry) error {
	tokens := make([]paho.Token, len(batch))
	for i, e := range batch {
		m := e.message
		tokens[i] = s.paho.Publish(m.Topic, m.QoS, m.Retained, m.Payload)
	}
	for i, token := range tokens {
		if err := s.await(ctx, token); err != nil {
			return fmt.Errorf("publishing to %s: %w", batch[i].message.Topic, err)
		}
	}
	return nil
}

// await waits for the broker's acknowledgement.
func (s *session) await(ctx context.Context, token paho.Token) error {
	timeout := time.NewTimer(s.cfg.Timeout)
	defer timeout.Stop()
	select {
	case <-token.Done():
		return token.Error()
	case err := <-s.lost:
		return err
	case <-timeout.C:
		return errors.New("the broker does not acknowledge")
	case <-ctx.Done():
		return ctx.Err()
	}
}
