// Package sluice_test holds the shape of the module: imports go one way, and
// every package says what it is.
package sluice_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows say what of this module a package may import. A package is governed
// by the entry of the longest path that is its own or a parent's; a pattern
// ends in /... where it stands for everything below.
//
//	cmd -> provisioning -> relay, device
//	relay -> protocol packages -> endpoint -> flow -> media
var arrows = map[string][]string{
	"cmd":             {"provisioning/...", "device/...", "relay/..."},
	"provisioning":    {"provisioning/...", "device/...", "relay/..."},
	"device":          {"device/...", "relay/endpoint"}, // Secret, Fault, Uplink
	"device/control":  {},
	"device/console":  {"device/control", "device/console/..."}, // it knows documents as JSON alone
	"relay":           {"relay/..."},
	"relay/srt":       protocol,
	"relay/rtmp":      protocol,
	"relay/rtp":       protocol,
	"relay/rtsp":      protocol,
	"relay/dial":      {"relay/endpoint"},
	"relay/gate":      {"relay/endpoint"},
	"relay/endpoint":  {"relay/flow", "relay/media"},
	"relay/remux":     {"relay/media", "relay/mpegts", "relay/flv"},
	"relay/flv":       {"relay/media"},
	"relay/mpegts":    {"relay/media"},
	"relay/udp":       {"relay/endpoint"},
	"relay/flow":      {"relay/media"},
	"relay/media":     {},
	"relay/relaytest": {"relay/endpoint", "relay/flow", "relay/media", "relay/mpegts", "relay/remux"},
	"test":            {"provisioning/...", "device/...", "relay/..."},
	"bench":           {"bench/...", "provisioning/...", "device/...", "relay/..."}, // and nothing imports it
}

// protocol packages know neither the Engine nor each other.
var protocol = []string{"relay/endpoint", "relay/dial", "relay/gate", "relay/flow", "relay/flv", "relay/media", "relay/mpegts", "relay/remux", "relay/udp"}

// standardOnly are packages that import nothing from outside the standard
// library but what arrows allow.
var standardOnly = []string{"relay/media", "relay/flow", "relay/endpoint"}

// fakes and harness serve tests and the bench: no program of the product
// contains them.
const (
	fakes   = "relay/relaytest"
	harness = "test/harness"
)

// A source is one Go file.
type source struct {
	file    string
	pkg     string // directory, "." for the root
	test    bool
	main    bool
	doc     string
	imports []string
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch name := d.Name(); {
			case name == "testdata", name == "tools", name != "." && strings.HasPrefix(name, "."):
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{
			file:    p,
			pkg:     filepath.ToSlash(filepath.Dir(p)),
			test:    strings.HasSuffix(p, "_test.go"),
			main:    f.Name.Name == "main",
			doc:     f.Doc.Text(),
			imports: importsOf(f),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files: not run in the root of the module?", len(all))
	}
	return all
}

func importsOf(f *ast.File) []string {
	var paths []string
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			target, ours := strings.CutPrefix(imported, "sluice/")
			switch {
			case ours && !mayImport(s, target):
				t.Errorf("%s imports %s, against the direction of the house", s.file, target)
			case !ours && !s.test && slices.Contains(standardOnly, s.pkg) && strings.Contains(strings.Split(imported, "/")[0], "."):
				t.Errorf("%s imports %s: %s depends on the standard library alone", s.file, imported, s.pkg)
			}
		}
	}
}

// connection is the package of gosrt's Dial, Listen and Conn. Our own transport
// is in their place: only tests and the bench use them, as a peer.
const connection = "github.com/datarhei/gosrt"

func TestNoConnectionOfGosrt(t *testing.T) {
	peers := 0
	for _, s := range sources(t) {
		switch {
		case !slices.Contains(s.imports, connection):
		case s.test, strings.HasPrefix(s.pkg, "bench"):
			peers++
		default:
			t.Errorf("%s imports %s", s.file, connection)
		}
	}
	if peers == 0 {
		t.Error("nothing imports it: is that still its name?")
	}
}

// Other implementations of RTMP are peers in tests alone, and of go-rtmp the
// root package is left out: it builds for no 32-bit ARM.
func TestNoOtherRTMP(t *testing.T) {
	const other, root = "github.com/bluenviron/gortmplib", "github.com/yutopp/go-rtmp"
	peers := 0
	for _, s := range sources(t) {
		for _, path := range s.imports {
			switch {
			case path == root, strings.HasPrefix(path, other) && !s.test:
				t.Errorf("%s imports %s", s.file, path)
			case strings.HasPrefix(path, other):
				peers++
			}
		}
	}
	if peers == 0 {
		t.Errorf("nothing imports %s: is that still its name?", other)
	}
}

// The rule itself, on imports that must be refused.
func TestArrowsRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, target string
		test        bool
	}{
		{"relay/srt", "relay/rtp", false},
		{"relay/srt", "relay", false},
		{"relay/media", "relay/flow", false},
		{"relay", "device/uplink", false},
		{"relay", "provisioning/config", true},
		{"device/control", "relay/endpoint", false},
		{"device/control", "provisioning", false},
		{"device/console", "relay/endpoint", false},
		{"device/console/edit", "device/uplink", false},
		{"device/console", "provisioning/config", true},
		{"provisioning", "cmd/sluiced", false},
		{"relay", "relay/relaytest", false},
		{"cmd/sluiced", "relay/relaytest", false},
		{"relay/srt", "bench/wire", true},
		{"cmd/sluiced", "bench/measure", false},
	} {
		if mayImport(source{pkg: c.pkg, test: c.test}, c.target) {
			t.Errorf("%s may import %s (test: %v)", c.pkg, c.target, c.test)
		}
	}
}

func mayImport(s source, target string) bool {
	if target == fakes || target == harness {
		return s.test || strings.HasPrefix(s.pkg, "test/") || s.pkg == "bench"
	}
	if s.test && target == s.pkg {
		return true
	}
	for governor := s.pkg; governor != "."; governor = path.Dir(governor) {
		for _, allowed := range arrows[governor] {
			below, all := strings.CutSuffix(allowed, "/...")
			if target == allowed || all && (target == below || strings.HasPrefix(target, below+"/")) {
				return true
			}
		}
		if _, governed := arrows[governor]; governed {
			return false
		}
	}
	return false
}

func TestEveryPackageHasADocComment(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		begins := "Package " + path.Base(s.pkg) + " "
		if s.test && s.pkg != "." {
			continue
		}
		documented[s.pkg] = documented[s.pkg] || s.pkg == "." || s.main && s.doc != "" || strings.HasPrefix(s.doc, begins)
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("no file of %s has a comment that begins with \"Package %s\"", pkg, path.Base(pkg))
		}
	}
}
