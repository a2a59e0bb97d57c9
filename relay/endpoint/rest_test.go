package endpoint_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// What failed rests, but not once its uplink has become ready, or is another
// one.
func TestRestEndsWithItsUplink(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*relaytest.Uplink)
		want   time.Duration
	}{
		{"as it was", func(*relaytest.Uplink) {}, 30 * time.Second},
		{"not ready", (*relaytest.Uplink).Down, 30 * time.Second},
		{"ready again", func(up *relaytest.Uplink) { up.Down(); time.Sleep(time.Second); up.Up() }, 2 * time.Second},
		{"another address", (*relaytest.Uplink).Renew, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := relaytest.NewUplink("wan0")
				go func() {
					time.Sleep(time.Second)
					c.change(up)
				}()
				began := time.Now()
				renewed := endpoint.Rest(t.Context(), up, 30*time.Second)
				if took := time.Since(began); took < c.want || took > c.want+400*time.Millisecond || renewed != (c.want < 30*time.Second) {
					t.Errorf("renewed %t after %v", renewed, took)
				}
			})
		})
	}
}
