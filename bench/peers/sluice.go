package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"sluice/bench/load"
	"sluice/bench/wire"
	"sluice/device/control"
	"sluice/relay"
)

// Ready waits until a relay that has started does its job.
type Ready func(ctx context.Context, j Job, dir string) error

// product is the daemon as it is shipped, given a document over its control
// socket.
func product(sluiced string) Relay {
	socket := func(dir string) string { return filepath.Join(dir, "control") }
	return Relay{
		Name: Sluice, About: "sluiced, configured over its control socket", Needs: []string{sluiced},
		Can: func(j Job) bool { return len(j.OutPorts) <= relay.MaxOutputs*len(j.InPorts) && j.Viewers <= maxViewers },
		Command: func(_ Job, dir string) []string {
			return []string{
				sluiced, "--state", filepath.Join(dir, "state"), "--control", socket(dir), "--config", "/dev/null",
				"--device", "bench", "--uplink", "lan0=lo", "--apply-every", "1ms", "--log-level", "warn",
			}
		},
		Ready: func(ctx context.Context, j Job, dir string) error { return apply(ctx, socket(dir), Document(j)) },
	}
}

// maxViewers is the most that one listening output may have.
const maxViewers = 200

// apply hands a document in, as soon as the daemon listens.
func apply(ctx context.Context, socket string, document []byte) error {
	c := control.NewClient(socket)
	defer c.Close()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		status, answer, err := c.Apply(ctx, document)
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil:
			return fmt.Errorf("sluiced refuses the document: %s", answer)
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}

// object is a JSON object.
type object = map[string]any

// Document returns the configuration that makes a box do a job.
func Document(j Job) []byte {
	srt := func(o object) object {
		o["latency_ms"] = j.Latency.Milliseconds()
		if j.Passphrase != "" {
			o["passphrase"] = j.Passphrase
		}
		return o
	}
	rtmp := func(port int) object { return object{"port": port, "app": wire.RTMPApp, "stream_key": wire.RTMPStream} }
	encapsulation := map[load.Protocol]string{load.RTP: "rtp", load.UDP: "udp"}
	var flows []object
	for n, port := range j.InPorts {
		input := object{"id": "in", "protocol": "RTP", "rtp": object{"port": port, "encapsulation": encapsulation[j.In]}}
		switch j.In {
		case load.SRT:
			input = object{"id": "in", "protocol": "SRT", "srt": srt(object{"mode": "listener", "port": port})}
		case load.RTMP:
			input = object{"id": "in", "protocol": "RTMP", "rtmp": rtmp(port)}
		}
		var outputs []object
		add := func(protocol string, more object) {
			id := fmt.Sprintf("out-%d", len(outputs))
			o := object{"id": id, "name": id, "protocol": protocol}
			for k, v := range more {
				o[k] = v
			}
			outputs = append(outputs, o)
		}
		switch {
		case j.Listen > 0 && j.Out == load.RTMP:
			add("RTMP_PULL", object{"max_viewers": j.Viewers, "rtmp": rtmp(j.Listen)})
		case j.Listen > 0:
			add("SRT", object{"max_viewers": j.Viewers, "srt": srt(object{"mode": "listener", "port": j.Listen})})
		}
		for _, to := range j.share(n) {
			destinations := []object{{"host": "127.0.0.1", "port": to}}
			if j.Out == load.SRT {
				add("SRT", object{"srt": srt(object{"mode": "caller", "destinations": destinations})})
			} else {
				add("RTP", object{"rtp": object{"destinations": destinations, "encapsulation": encapsulation[j.Out]}})
			}
		}
		id := fmt.Sprintf("flow-%d", n)
		flows = append(flows, object{"id": id, "name": id, "inputs": []object{input}, "outputs": outputs})
	}
	document, err := json.Marshal(object{
		"schema": "sluice.config/v1", "version": 1,
		"state": object{
			"uplinks": []object{{"name": "lan0", "match": object{"interface": "lo"}, "default": true}},
			"flows":   flows,
		},
	})
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return document
}

// share returns the ports that input n feeds.
func (j Job) share(n int) []int {
	inputs, outputs := len(j.InPorts), len(j.OutPorts)
	return j.OutPorts[n*outputs/inputs : (n+1)*outputs/inputs]
}
