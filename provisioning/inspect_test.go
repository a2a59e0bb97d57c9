package provisioning

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/mqtt"
	"sluice/relay"
	"sluice/relay/media"
	"sluice/relay/remux"
)

// someInspection is what an Engine says of a source with a picture, sound and a
// programme more.
func someInspection() relay.Inspection {
	video := remux.Stream{PID: 256, Type: 27, Track: media.Video, Info: remux.Info{Codec: "avc1", Width: 1920, Height: 1080, FrameRate: 30000.0 / 1001}, Carried: true}
	sound := remux.Stream{PID: 257, Type: 15, Track: media.Audio, Info: remux.Info{Codec: "mp4a", SampleRate: 48000, Channels: 2}, Carried: true}
	splice := remux.Stream{PID: 500, Type: 134, Info: remux.Info{Codec: "scte35"}, Reason: "splice information has no place in RTMP"}
	return relay.Inspection{
		Input: "i", Protocol: relay.SRT, State: relay.Receiving, Carriage: media.TS, Conversion: media.FLV,
		BitrateBps: 5_000_000, Span: 2500 * time.Millisecond,
		Programs: []relay.InspectedProgram{
			{Number: 1, PMT: 4096, Chosen: true, Streams: []relay.InspectedStream{{Stream: video, BitrateBps: 4_800_000}, {Stream: sound, BitrateBps: 128_000}, {Stream: splice}}},
			{Number: 2, PMT: 4097},
		},
	}
}

func TestInspectRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.engine.seen = someInspection()
		ask := func(body string) string {
			t.Helper()
			before := len(b.fleet.on("response/input-inspect"))
			b.receiveRequest(mqtt.Message{Topic: "sluice/v1/box/request/input-inspect", Payload: []byte(body)})
			time.Sleep(4 * time.Second)
			if n := len(b.fleet.on("response/input-inspect")) - before; n != 1 {
				t.Fatalf("%s: %d responses", body, n)
			}
			return b.fleet.last("response/input-inspect")
		}
		request := func(transaction, data string, valid time.Duration) string {
			return fmt.Sprintf(`{"transaction":%q,"expires":%q,"data":%s}`, transaction, time.Now().Add(valid).UTC().Format(time.RFC3339), data)
		}
		at := now().Add(3 * time.Second).Format(time.RFC3339Nano)
		want := `{"transaction":"1","status":"ok","data":{"timestamp":"` + at + `","flow":"f","input":"i","protocol":"SRT","state":"receiving","reason":null,` +
			`"carriage":"MPEG-TS","conversion":"RTMP","bitrate_bps":5000000,"measured_s":2.5,"programs":[` +
			`{"number":1,"pmt_pid":4096,"taken":true,"streams":[` +
			`{"pid":256,"stream_type":27,"type":"video","codec":"H.264","width":1920,"height":1080,"frame_rate":29.97,"bitrate_bps":4800000,"carried":true},` +
			`{"pid":257,"stream_type":15,"type":"audio","codec":"AAC","sample_rate":48000,"channels":2,"bitrate_bps":128000,"carried":true},` +
			`{"pid":500,"stream_type":134,"type":"data","codec":"SCTE 35","bitrate_bps":0,"carried":false,"left_out":"splice information has no place in RTMP"}]},` +
			`{"number":2,"pmt_pid":4097,"taken":false,"streams":[]}]}}`
		if got := ask(request("1", `{"flow":"f"}`, time.Minute)); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		b.engine.seen = relay.Inspection{Input: "i", Protocol: relay.SRT, State: relay.Waiting, Note: "no media comes in", Programs: []relay.InspectedProgram{{
			Streams: []relay.InspectedStream{{Stream: remux.Stream{Info: remux.Info{FrameRate: math.NaN()}}}},
		}}}
		if got := ask(request("2", `{"flow":"f"}`, time.Minute)); field(t, got, "data", "note") != "no media comes in" || field(t, got, "data", "programs", 0, "streams", 0, "frame_rate") != nil {
			t.Errorf("got %s", got)
		}
		for body, says := range map[string]string{
			request("3", `{"flow":"none"}`, time.Minute):            `"error":{"code":404,"message":"flow \"none\": not found"}`,
			request("4", `{}`, time.Minute):                         `"error":{"code":400,"message":"data needs flow"}`,
			request("5", `{"flow":"f","inptu":"i"}`, time.Minute):   `"error":{"code":400,"message":"data cannot be read`,
			request("6", `{"flow":"f"}`, -time.Second):              `"error":{"code":408,"message":"the request expired at`,
			`{"transaction":"7","data":{"flow":"f"}}`:               `"error":{"code":400,"message":"expires is missing`,
			`{"expires":"2099-01-01T00:00:00Z","data":{"flow":""}}`: `"error":{"code":400,"message":"transaction is missing`,
		} {
			if got := ask(body); !strings.Contains(got, says) {
				t.Errorf("%s\n got %s\nwant %s", body, got, says)
			}
		}
	})
}

// A few may look at once; whoever stops waiting makes room for the next.
func TestInspectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		ctx, cancel := context.WithCancel(t.Context())
		statuses := make(chan int, maxInspections+1)
		look := func(ctx context.Context) {
			status, _ := b.Request(ctx, "input-inspect", []byte(`{"data":{"flow":"f"}}`), control.Caller{})
			statuses <- status
		}
		go look(ctx)
		for range maxInspections - 1 {
			go look(t.Context())
		}
		synctest.Wait()
		look(t.Context())
		if status := <-statuses; status != codeTooMany {
			t.Errorf("one too many: %d", status)
		}
		cancel()
		if status := <-statuses; status != codeInternal {
			t.Errorf("one that nobody waits for: %d", status)
		}
		look(t.Context())
		for range maxInspections {
			if status := <-statuses; status != 200 {
				t.Errorf("one of those that fit: %d", status)
			}
		}
	})
}

// An answer has a size that brokers take, whatever a source lists.
func TestInspectionIsBounded(t *testing.T) {
	v := relay.Inspection{}
	for i := range 32 {
		v.Programs = append(v.Programs, relay.InspectedProgram{Number: uint16(i), Chosen: i == 31, Streams: make([]relay.InspectedStream, 64)})
	}
	d := inspection(v)
	n := 0
	for _, p := range d.Programs {
		n += len(p.Streams)
	}
	if n != maxInspected+64 || len(d.Programs[31].Streams) != 64 || d.Note != "1728 more streams are not shown" {
		t.Errorf("%d streams, %d of the programme that is taken: %q", n, len(d.Programs[31].Streams), d.Note)
	}
	if size := len(marshal(d)); size > 64<<10 {
		t.Errorf("%d bytes", size)
	}
}
