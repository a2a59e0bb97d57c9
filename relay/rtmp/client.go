package rtmp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
)

// A target is a server that is called.
type target struct {
	address string // host:port
	host    string
	app     string
	tls     bool
}

// targetOf reads a URL that Validate has seen.
func targetOf(raw string) (t target) {
	u, err := url.Parse(raw)
	if err != nil {
		return t
	}
	t.host, t.app, t.tls = u.Hostname(), strings.Trim(u.Path, "/"), u.Scheme == "rtmps"
	port := u.Port()
	switch {
	case port != "":
	case t.tls:
		port = "443"
	default:
		port = "1935"
	}
	t.address = net.JoinHostPort(t.host, port)
	return t
}

// A client is a connection with a server that was called.
type client struct {
	*conn
	target target
	calls  float64         // transactions so far
	stream uint32          // message stream
	codecs []string        // of Enhanced RTMP that the server lists
	key    endpoint.Secret // of the stream, once the server may have it
}

// errAuthenticate says that the server wants to hear who we are.
type errAuthenticate struct{ description string }

func (errAuthenticate) Error() string { return "the server wants a user name and a password" }

// call connects to a server's application and lets then ask for what is wanted,
// all within dial.Timeout. The error is an *endpoint.Error, or that of ctx.
func (t *Transport) call(ctx context.Context, env endpoint.Env, to target, who credentials, then func(*client) error) (*client, error) {
	limited, cancel := context.WithTimeout(ctx, dial.Timeout)
	defer cancel()
	query := "" // behind the application, by which we say who we are
	for range 3 {
		c, err := t.connect(limited, env, to, query)
		if err == nil {
			if err = c.settle(limited, then); err == nil {
				return c, nil
			}
			c.link.close()
		}
		var want errAuthenticate
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &want):
			if query, err = who.answer(want.description); err == nil {
				continue
			}
		}
		return nil, explain(ctx, to, err)
	}
	return nil, endpoint.Fail(endpoint.Refused, nil, "authentication", "%s asks for a password again and again", to.address)
}

// explain makes an *endpoint.Error of why a server could not be called.
func explain(ctx context.Context, to target, err error) error {
	var fault *endpoint.Error
	var timeout net.Error
	var unknown x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &fault):
		return err
	case errors.As(err, &unknown), errors.As(err, &verify):
		return endpoint.Fail(endpoint.Connecting, err, "certificate", "the certificate of %s is not trusted", to.address)
	case errors.As(err, &timeout) && timeout.Timeout():
		return endpoint.Fail(endpoint.Connecting, nil, "no_answer", "%s did not answer within %v", to.address, dial.Timeout)
	}
	return endpoint.Fail(endpoint.Connecting, err, "handshake", "%s does not answer as an RTMP server does", to.address)
}

// connect calls a server and shakes hands.
func (t *Transport) connect(ctx context.Context, env endpoint.Env, to target, query string) (*client, error) {
	nc, err := env.Uplink.Dialer().DialContext(ctx, "tcp", to.address)
	if err != nil {
		return nil, dial.Unreachable(ctx, to.address, err)
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		nc.Close()
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "socket_failed", "the socket on %s is not TCP", env.Uplink.Name())
	}
	c := &client{conn: newConn(newLink(tcp)), target: to}
	c.link.called = true
	c.link.mark(env.DSCP)
	err = c.settle(ctx, func(c *client) error { return c.begin(ctx, t.options.Roots, query) })
	if err != nil {
		c.link.close()
		return nil, err
	}
	return c, nil
}

// settle lets do talk with the server until ctx is done.
func (c *client) settle(ctx context.Context, do func(*client) error) error {
	stop := context.AfterFunc(ctx, c.link.abort)
	err := do(c)
	if !stop() && err == nil {
		err = ctx.Err() // and the link is of no use any more
	}
	return err
}

// begin shakes hands, and connects to the application.
func (c *client) begin(ctx context.Context, roots *x509.CertPool, query string) error {
	if c.target.tls {
		cfg := &tls.Config{ServerName: c.target.host, RootCAs: roots, MinVersion: tls.VersionTLS12}
		if err := c.link.secure(ctx, cfg, tls.Client); err != nil {
			return err
		}
	}
	if err := c.introduce(); err != nil {
		return err
	}
	scheme := "rtmp://"
	if c.target.tls {
		scheme = "rtmps://"
	}
	type object struct {
		App        string   `amf0:"app"`
		Type       string   `amf0:"type"`
		FlashVer   string   `amf0:"flashVer"` // what servers expect to read
		TCURL      string   `amf0:"tcUrl"`
		FourCCList []string `amf0:"fourCcList"`
		CapsEx     int      `amf0:"capsEx"`
	}
	app := c.target.app + query
	answer, _, err := c.ask("", 0, "connect", object{
		app, "nonprivate", "FMLE/3.0 (compatible; Sluice)", scheme + c.target.address + "/" + app, fourCCs, capsMultitrack | capsModEx,
	})
	if err != nil {
		return err
	}
	_, code, description := answer.info()
	switch {
	case answer.name == "_result":
	case strings.Contains(description, "authmod=adobe"):
		return errAuthenticate{description}
	default:
		return c.refusal(code, description)
	}
	for i := range answer.args {
		c.codecs = append(c.codecs, announced(answer.object(i))...)
	}
	return nil
}

// refusal says that a server refused us, in its own words.
func (c *client) refusal(code, description string) error {
	words := strings.TrimSpace(clean(c.hide(code)) + " " + clean(c.hide(description)))
	if words == "" {
		words = "it does not say why"
	}
	return endpoint.Fail(endpoint.Refused, nil, "peer", "%s refused: %s", c.target.address, words)
}

// hide takes the stream key out of a server's words: some repeat it, or a part.
func (c *client) hide(words string) string {
	const telling = 6 // bytes of what stands in a query
	key := c.key.Reveal()
	bare, query, _ := strings.Cut(key, "?")
	parts := []string{key, query, bare}
	for pair := range strings.SplitSeq(query, "&") {
		if _, value, _ := strings.Cut(pair, "="); len(value) >= telling {
			parts = append(parts, value)
		}
	}
	for _, part := range parts {
		if part != "" {
			words = strings.ReplaceAll(words, part, c.key.Redacted())
		}
	}
	return words
}

// clean makes a server's words fit to be shown: one line of no great length.
func clean(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// ask calls a procedure, and waits for its answer: the status of a code, or its
// result where that is empty.
func (c *client) ask(code string, stream uint32, name string, args ...any) (answer command, ok bool, err error) {
	c.calls++
	return c.request(call(stream, name, c.calls, args...), c.calls, code)
}

// tell calls a procedure whose answer is of no interest.
func (c *client) tell(stream uint32, name string, args ...any) error {
	c.calls++
	return c.answer(call(stream, name, c.calls, args...))
}

// createStream has the server make a message stream.
func (c *client) createStream() error {
	answer, _, err := c.ask("", 0, "createStream", nil)
	if err != nil {
		return err
	}
	id, ok := answer.number(1)
	if answer.name != "_result" || !ok || id < 0 || id > 1<<31 {
		_, code, description := answer.info()
		return c.refusal(code, description)
	}
	c.stream = uint32(id)
	return nil
}

// publish begins a stream under a name. A server that hangs up has refused.
func (c *client) publish(key endpoint.Secret, chunkSize int) error {
	c.key = key
	if err := c.setChunkSize(chunkSize); err != nil {
		return err
	}
	if err := errors.Join(c.tell(0, "releaseStream", nil, key.Reveal()), c.tell(0, "FCPublish", nil, key.Reveal())); err != nil {
		return err
	}
	if err := c.createStream(); err != nil {
		return err
	}
	answer, _, err := c.ask("NetStream.Publish.Start", c.stream, "publish", nil, key.Reveal(), "live")
	switch {
	case err != nil && broken(err) == endpoint.ErrPeerClosed:
		return endpoint.Fail(endpoint.Refused, nil, "peer", "%s refused to be published to: it hung up without a word", c.target.address)
	case err != nil:
		return err
	}
	if _, code, description := answer.info(); code != "NetStream.Publish.Start" {
		return c.refusal(code, description)
	}
	return nil
}

// play asks for a stream.
func (c *client) play(key endpoint.Secret) error {
	c.key = key
	if err := c.createStream(); err != nil {
		return err
	}
	const live = -2 // or recorded, where there is nothing live
	if err := c.answer(encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventSetBufferLength{StreamID: c.stream, LengthMs: 3000}})); err != nil {
		return err
	}
	answer, ok, err := c.ask("NetStream.Play.Start", c.stream, "play", nil, key.Reveal(), live)
	switch {
	case err != nil && broken(err) == endpoint.ErrPeerClosed:
		return endpoint.Fail(endpoint.Refused, nil, "peer", "%s refused to be played from: it hung up without a word", c.target.address)
	case err != nil || !ok:
		return err
	}
	if _, code, description := answer.info(); code != "NetStream.Play.Start" {
		return c.refusal(code, description)
	}
	return nil
}

// takes tells whether the server lists a codec of Enhanced RTMP.
func (c *client) takes(codec string) bool {
	return slices.Contains(c.codecs, codec) || slices.Contains(c.codecs, "*")
}
