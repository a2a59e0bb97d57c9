package rtmp

import (
	"encoding/json"
	"fmt"
	"testing"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
)

// TestSecretsAreNotShown publishes, is refused and pushes, and reads all that is
// logged and shown meanwhile.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cfg := r.publishHere()
	cfg.StreamKey = endpoint.NewSecret(secretKey)
	in, out := r.input(cfg), r.output(r.playHere())
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	shown := func() {
		t.Helper()
		for _, v := range []any{in.Status(), out.Status()} {
			document, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			withoutSecrets(t, r.log.String(), fmt.Sprintf("%+v", v), string(document))
		}
	}
	c := r.callFrom("127.0.0.1", "in")
	if err := c.publishes(secretKey); err != nil {
		t.Fatal(err)
	}
	in.await(endpoint.Connected)
	shown()
	second := r.callFrom("127.0.0.1", "in")
	withoutSecrets(t, second.publishes(secretKey).Error())
	// Who tries it with another key, or in other places, finds nothing of it in
	// the log either.
	for _, wrong := range [][2]string{{"in", "almost_" + secretKey}, {"in", "swordfish"}, {secretKey, "x"}, {"in?swordfish", "hunter2"}} {
		publisher, player := r.callFrom("127.0.0.1", wrong[0]), r.callFrom("127.0.0.1", wrong[0])
		withoutSecrets(t, publisher.publishes(wrong[1]).Error(), player.plays(wrong[1]).Error())
		_, _ = publisher.link.tcp.Close(), player.link.tcp.Close()
		bad := r.callFrom("127.0.0.1", "in")
		_ = bad.say(call(0, wrong[1], 7, nil, wrong[0]), message{kind: amf0Command, data: []byte(wrong[1])})
		bad.hungUp()
	}
	_ = c.say(message{kind: amf0Command, data: []byte(secretKey)}) // which is no command
	c.hungUp()
	in.await(endpoint.Listening)
	shown()
	in.stop()
	out.stop() // and with it all that is still to be logged
	shown()
}

// TestSecretsAreNotPrinted prints what holds a key or a password.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := r.publishHere()
	in.StreamKey = endpoint.NewSecret(secretKey)
	pull := InputConfig{URL: "rtmp://example.test/app", StreamKey: endpoint.NewSecret(secretKey)}
	push := pushing("example.test", "other.test")
	push.DestinationMode = dial.Both
	push.Destinations[0].Username, push.Destinations[0].Password = "ali", endpoint.NewSecret("open-sesame")
	who := credentials{"ali", endpoint.NewSecret("open-sesame")}
	for _, v := range []any{
		in, &in, pull, push, &push, push.Destinations[0], who, &who, &client{key: endpoint.NewSecret(secretKey)},
		NewInput(r.transport, in, anyone, r.env()), NewInput(r.transport, pull, anyone, r.env()), NewOutput(r.transport, push, anyone, r.env()),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			withoutSecrets(t, fmt.Sprintf(verb, v))
		}
	}
	for _, v := range []any{in, pull, push} {
		document, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		withoutSecrets(t, string(document))
	}
	for _, fault := range append(in.Validate("/input"), push.Validate("/output")...) {
		withoutSecrets(t, fault.Error())
	}
	push.Destinations[1] = push.Destinations[0]
	push.Destinations[0].StreamKey = endpoint.NewSecret("hunter2 with a space")
	push.Destinations[0].URL = "rtmp://ali:open-sesame@example.test/app?swordfish"
	faults := push.Validate("/output")
	if len(faults) == 0 {
		t.Error("nothing is wrong")
	}
	for _, fault := range faults {
		withoutSecrets(t, fault.Error())
	}
}
