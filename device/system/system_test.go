package system

import (
	"os"
	"testing"
	"testing/fstest"
	"time"
)

func TestFigures(t *testing.T) {
	files := fstest.MapFS{
		"proc/stat":                            {Data: []byte("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\n")},
		"proc/self/statm":                      {Data: []byte("5000 2 3 4\n")},
		"proc/uptime":                          {Data: []byte("90.50 170.00\n")},
		"sys/class/thermal/thermal_zone0/temp": {Data: []byte("41000\n")},
		"sys/class/thermal/thermal_zone1/temp": {Data: []byte("58500\n")},
	}
	b := &Box{files: files}
	f := b.Figures()
	if f.CPUPercent != 20 || f.TemperatureC == nil || *f.TemperatureC != 58.5 || f.Uptime != 90500*time.Millisecond || f.RSSBytes == 0 {
		t.Errorf("got %+v", f)
	}
	files["proc/stat"] = &fstest.MapFile{Data: []byte("cpu  130 0 100 760 110 0 0 0 50 0\n")}
	if f = b.Figures(); f.CPUPercent != 30 {
		t.Errorf("since the last reading: %v %%", f.CPUPercent)
	}
	if f = b.Figures(); f.CPUPercent != 0 {
		t.Errorf("no time has passed: %v %%", f.CPUPercent)
	}
	if f = (&Box{files: fstest.MapFS{}}).Figures(); f != (Figures{}) {
		t.Errorf("a box that shows nothing: %+v", f)
	}
}

func TestIdentity(t *testing.T) {
	b := &Box{files: fstest.MapFS{
		"sys/class/dmi/id/product_serial": {Data: []byte(" \n")},
		"proc/device-tree/serial-number":  {Data: []byte("10000000abcdef\x00")},
		"proc/device-tree/model":          {Data: []byte("Edge 4\x00")},
	}}
	if id := b.Identity(); id != (Identity{"10000000abcdef", "Edge 4"}) {
		t.Errorf("got %+v", id)
	}
}

func TestThisBox(t *testing.T) {
	b := New()
	if f := b.Figures(); f.RSSBytes == 0 || f.Uptime == 0 {
		t.Errorf("figures: %+v", f)
	}
	if b.BootID() == "" {
		t.Error("no boot id")
	}
	nics, err := b.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nics {
		if n.Name == "" || n.Name == "lo" {
			t.Errorf("got %+v", n)
		}
		// The file cannot be read while the NIC is switched off.
		carrier, err := os.ReadFile("/sys/class/net/" + n.Name + "/carrier")
		if up := err == nil && string(carrier) == "1\n"; n.Carrier != up {
			t.Errorf("%s: carrier is %t, and the kernel says %q, %v", n.Name, n.Carrier, carrier, err)
		}
	}
}
