package srt

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more tests at the same time than there are processors: they
// wait more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		_ = p.Value.Set("6")
	}
	os.Exit(m.Run())
}
