// Package provisioning turns what is wanted of the box into what is in force,
// and reports it.
//
//	config/desired (MQTT) --\                                  /-> config/accepted, rejected
//	control socket, console -+-> parse -> may it follow? -> store -> uplinks -> engine -> config/reported
//	store, at start --------/                                  \-> state, telemetry, event
//
// The Agent does all of it. One goroutine owns the document in force; what
// others read are bodies, made and kept in a board. It needs no broker: what
// the store holds is in force from the first moment on, and what there is to
// report waits, within bounds, until somebody can be told.
package provisioning

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"sluice/device"
	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/provisioning/store"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// An Engine relays what it is given. relay.Engine is one.
type Engine interface {
	Apply(relay.Config)
	Report() relay.Report
	Kick(flow, output, session string) error
	RestartFlow(flow string) error
	Inspect(ctx context.Context, flow string) (relay.Inspection, error)
}

// Uplinks give every socket its NIC. uplink.Manager is one.
type Uplinks interface {
	Set([]uplink.Config) error
	Status() []uplink.Status
	Get(name string) endpoint.Uplink
}

// A Store remembers. store.Store is one.
type Store interface {
	Load(accept func(store.Record) error) (r *store.Record, passedOver []error, err error)
	Save(store.Record) error
	Records() ([]store.Record, error)
	Get(name string) ([]byte, error)
	Put(name string, value []byte) error
	Delete(name string) error
	Wipe(except string) error
}

// deviceName is what may stand in topics and in a certificate.
var deviceName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// A connection carries messages to the fleet, and never makes the Agent wait.
// mqtt.Client is one.
type connection interface {
	Run(context.Context) error
	SetRetained(topic string, body []byte)
	Enqueue(topic string, body []byte)
	Offer(topic string, body []byte)
	Retry()
	Use(mqtt.Config) (generation uint64, err error)
	Status() mqtt.Status
}

// Options are what an Agent is made of. What has no default must be set.
type Options struct {
	Device  string // name of the box: its client id and the root of its topics
	Store   Store
	Engine  Engine
	Uplinks Uplinks
	// Info returns what the box is: serial number, model, version, NICs and
	// capabilities. The Agent fills in the rest.
	Info func() config.Info
	// SetTLS is told which certificate listening sockets present: nil for the
	// box's own. Nil: nobody has to know.
	SetTLS func(*device.TLS)
	// Figures returns how the box fares.
	Figures func() system.Figures
	// LogTail returns the last lines of the log, at most n, the oldest first.
	// Nil: the box keeps none.
	LogTail func(n int) []string
	Log     *slog.Logger

	// Host carries out what needs root. Nil: the box's network and host name
	// are not ours to set.
	Host Host
	// Updater installs firmware. Nil: this box cannot.
	Updater Updater
	// SystemBootID distinguishes this start of the box from any other.
	SystemBootID string

	// End has the daemon end, to be started again. Nil: nobody can.
	End func()

	// PasswordFile holds the console's password, or its hash as a PHC string of
	// argon2id, for the first start. Empty: the box makes one.
	PasswordFile string

	// Broker is how the broker is reached, and wins over the document's. Nil:
	// the document says it. Device is the client id, and the Agent fills in
	// Dialers, Presence and Log.
	Broker *mqtt.Config
	// StateDir is where the files are that a document names.
	StateDir string
	// Dial returns what makes connections from an uplink; the empty name is
	// the default one. Nil: the broker is reached as the system sees fit.
	Dial func(uplink string) mqtt.DialFunc

	// What the command line owns; a document that contradicts it is refused.
	LocalUplinks  []uplink.Local
	BrokerUplinks []string // NIC roles that lead to the broker, in order

	ApplyEvery     time.Duration // at most one document is applied in it; default 1 s
	SampleEvery    time.Duration // how often the Engine is looked at; default 250 ms
	StateEvery     time.Duration // at most one state is published in it; default 1 s
	TelemetryEvery time.Duration // give or take a tenth; default 10 s
	// SessionWindow is how long a session with the broker may take to come
	// back under new settings before the box goes back to the old ones;
	// default 2 min.
	SessionWindow time.Duration
}

// An Agent is the box's side of its contract with a fleet manager. Make it
// with New. It is a control.Backend.
type Agent struct {
	o      Options
	log    *slog.Logger
	bootID string
	seal   *identity
	client connection // which may have no broker
	board  *board
	ready  chan struct{} // closed by Run once there is a document in force, and a state of it

	inbox         inbox
	edits         chan *edit
	confirmations chan *confirmation
	action        actions
	updates       updater
	login         login
	candidate     candidate
	looks         chan struct{} // an item for each inspection that is under way
	trials        chan struct{} // and for each test
	bundling      chan struct{} // and for the one support bundle

	presence presence
	events   events
	inForce  atomic.Pointer[inForce] // written by the goroutine of Run alone
	alive    atomic.Pointer[time.Time]
	health   monitor // as inForce
	rates    rates

	commit  commits
	network network
	told    atomic.Pointer[config.LastAnswer] // to the fleet
}

// An inForce is the document that the box obeys, and how it came. It is never
// changed, but replaced.
type inForce struct {
	document *config.Document
	digest   string // of the document as it was received
	origin   string
	desired  uint64 // version of the document that was answered last, in force or not
	wentBack bool   // that one went back

	receivedAt time.Time
	by         string   // who made it, where it was made at the box
	comment    string   // what he said of it
	owned      []string // what was set at the box: see owned.go
}

func (f *inForce) version() uint64 { return f.document.Version }

// New returns an Agent that Run brings to life. It reads the box's key from
// the store, or makes one. The error says what is wrong with the options or
// the store.
func New(o Options) (*Agent, error) {
	if !deviceName.MatchString(o.Device) {
		return nil, fmt.Errorf("device %q: use 1 to 63 lower-case letters, digits and hyphens", o.Device)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.ApplyEvery, time.Second)
	setDefault(&o.SampleEvery, 250*time.Millisecond)
	setDefault(&o.StateEvery, time.Second)
	setDefault(&o.TelemetryEvery, 10*time.Second)
	setDefault(&o.SessionWindow, 2*time.Minute)
	a := &Agent{
		o: o, log: o.Log, bootID: newBootID(), board: newBoard(), ready: make(chan struct{}),
		inbox:         inbox{wake: make(chan struct{}, 1)},
		edits:         make(chan *edit, maxEdits),
		confirmations: make(chan *confirmation, maxEdits),
		network:       newNetwork(o.Host),
		action:        newActions(),
		login:         newLogin(),
		candidate:     candidate{turn: make(chan struct{}, 1)},
		updates:       updater{wanted: make(chan []byte, 1)},
		looks:         make(chan struct{}, maxInspections),
		trials:        make(chan struct{}, maxTrials),
		bundling:      make(chan struct{}, 1),
	}
	if err := finishReset(o.Store); err != nil {
		return nil, err
	}
	a.inForce.Store(factory())
	if err := a.connect(); err != nil {
		return nil, err
	}
	var err error
	if a.seal, err = a.loadIdentity(); err != nil {
		return nil, err
	}
	if a.login.password, err = a.loadPassword(); err != nil {
		return nil, err
	}
	a.loadCandidate()
	a.presence.load(a)
	return a, nil
}

func setDefault(p *time.Duration, value time.Duration) {
	if *p == 0 {
		*p = value
	}
}

// factory is what is in force before there was any document.
func factory() *inForce {
	return &inForce{document: &config.Document{Desired: config.Desired{Schema: config.Schema}}, origin: config.OriginFactory}
}

// connect makes the client, with the command line's broker if there is one,
// and subscribes.
func (a *Agent) connect() error {
	client := mqtt.Idle(mqtt.Config{Log: a.log})
	if broker := a.brokerOf(a.inForce.Load()); broker != nil {
		if _, err := client.Use(*broker); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	client.Subscribe(a.topic("config/desired"), 1, a.receiveDesired)
	client.Subscribe(a.topic("config/confirm"), 1, a.receiveConfirm)
	client.Subscribe(a.topic("request/+"), 1, a.receiveRequest)
	client.Subscribe(a.topic("update/desired"), 1, a.receiveUpdate)
	a.client = client
	return nil
}

func (a *Agent) topic(name string) string { return "sluice/v1/" + a.o.Device + "/" + name }

// Ready is closed once the stored document is in force and every document can
// be read.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Alive returns when the goroutine that owns the document was last free to do
// something: a moment ago, unless it hangs. Zero before there is a document.
func (a *Agent) Alive() time.Time {
	if t := a.alive.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Run puts the stored document in force, and serves until ctx is done. The
// Engine goes on relaying afterwards: that is for its owner to end. It is
// called once.
func (a *Agent) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { a.network.run(ctx) })
	if err := a.restore(ctx); err != nil {
		return err
	}
	a.look() // so that a session has something to tell from its first moment on
	close(a.ready)
	running.Go(func() { _ = a.client.Run(ctx) }) // which never fails
	running.Go(func() { a.action.run(ctx, a) })
	running.Go(func() { a.updates.run(ctx, a) })
	a.loop(ctx)
	return nil
}

// loop is the goroutine that owns the document in force.
func (a *Agent) loop(ctx context.Context) {
	sample := time.NewTicker(a.o.SampleEvery)
	defer sample.Stop()
	telemetry := time.NewTimer(jitter(a.o.TelemetryEvery))
	defer telemetry.Stop()
	slot := time.NewTimer(0) // when the next document may be applied
	defer slot.Stop()
	open := true
	for {
		// A document waits in the inbox, where a newer one replaces it, and an
		// edit in its queue, until it may be applied.
		var desired <-chan struct{}
		var edits <-chan *edit
		if open {
			desired, edits = a.inbox.wake, a.edits
			if a.commit.holdsFleet() {
				desired = nil
			}
			if a.commit.holdsEdits() {
				edits = nil
			}
		}
		applied := false
		a.beat()
		select {
		case <-ctx.Done():
			return
		case <-slot.C:
			open = true
		case <-desired:
			if r := a.inbox.take(); r != nil {
				applied = a.processDesired(ctx, r)
			}
		case e := <-edits:
			applied = a.processEdit(ctx, e)
		case c := <-a.confirmations:
			a.processConfirmation(ctx, c)
		case <-sample.C:
			a.attend(ctx)
			a.look()
		case <-telemetry.C:
			a.publishTelemetry()
			telemetry.Reset(jitter(a.o.TelemetryEvery))
		}
		if applied {
			open = false
			slot.Reset(a.o.ApplyEvery)
		}
	}
}

// beat shows that the goroutine of loop does not hang.
func (a *Agent) beat() {
	now := time.Now()
	a.alive.Store(&now)
}
