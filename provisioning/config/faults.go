package config

import (
	"fmt"
	"strings"
	"time"

	"sluice/relay/endpoint"
)

// The codes of Faults and Rejected that this package gives: those of the AWS
// device shadow.
const (
	CodeBadRequest  = 400 // the document has faults
	CodeTooLarge    = 413 // larger than MaxDocument
	CodeUnsupported = 415 // not UTF-8
)

// maxFaults bounds an answer: a document of noise would have a fault in every
// other byte.
const maxFaults = 200

// Faults is the error of Parse: everything that is wrong with a document.
type Faults struct {
	Code        int
	Version     uint64 // of the document, 0 if it could not be read
	ClientToken string // of the document, empty if it could not be read
	Errors      []endpoint.Fault
	Total       int // how many there were; only the first 200 are in Errors
}

// Error lists the faults. It holds no secret.
func (f *Faults) Error() string {
	var b strings.Builder
	b.WriteString(f.Message())
	for i, e := range f.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + e.Error())
	}
	return b.String()
}

// Message says how many faults there are.
func (f *Faults) Message() string {
	switch {
	case f.Total == 1:
		return "1 fault"
	case f.Total > len(f.Errors):
		return fmt.Sprintf("%d faults, the first %d listed", f.Total, len(f.Errors))
	}
	return fmt.Sprintf("%d faults", f.Total)
}

// Rejected returns the answer to the document, where version current is in
// force.
func (f *Faults) Rejected(current uint64, now time.Time) *Rejected {
	return &Rejected{
		Code: f.Code, Message: f.Message(),
		Version: f.Version, CurrentVersion: current, ClientToken: f.ClientToken,
		Errors: f.Errors, Timestamp: now,
	}
}

// A faultList collects faults in the order in which they are found.
type faultList struct {
	faults []endpoint.Fault
	total  int
	at     map[string]bool // pointers that have a fault
}

// full tells that a further fault is only counted.
func (l *faultList) full() bool { return l.total >= maxFaults }

// add takes a fault, and gives it the code of its place if it has none.
func (l *faultList) add(f endpoint.Fault) {
	if l.at == nil {
		l.at = map[string]bool{}
	}
	l.at[f.Pointer] = true
	full := l.full()
	l.total++
	if full {
		return
	}
	if f.Code == "" {
		f.Code = codeOf(f.Pointer)
	}
	l.faults = append(l.faults, f)
}

// addf takes a fault whose code is that of its place.
func (l *faultList) addf(pointer, format string, args ...any) {
	l.add(endpoint.Faultf(pointer, format, args...))
}

// follow takes the faults of rules, which look at values: those at a place that
// has a fault already only follow from it.
func (l *faultList) follow(faults []endpoint.Fault) {
	for _, f := range faults {
		if !l.at[f.Pointer] {
			l.add(f)
		}
	}
}

// codeOf returns the code of a place in the document.
func codeOf(pointer string) string {
	parts := strings.Split(pointer, "/")
	switch last := parts[len(parts)-1]; {
	case last == "protocol":
		return endpoint.CodeProtocol
	case last == "name":
		return endpoint.CodeName
	}
	// /state/flows/0/inputs/0/...
	if len(parts) > 5 && parts[2] == "flows" {
		switch parts[4] {
		case "inputs":
			return endpoint.CodeInput
		case "outputs":
			return endpoint.CodeOutput
		}
	}
	return endpoint.CodeInvalid
}

// escape writes a name as a part of a JSON pointer (RFC 6901 section 3).
func escape(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
