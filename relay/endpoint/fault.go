package endpoint

import "fmt"

// The codes of faults. They are those of StreamLink where it has one. A fault
// with no code gets the one of its place in the document: of an input, an
// output, a name, a protocol, or anything else.
const (
	CodeInvalid  = "InvalidParameter"
	CodeProtocol = "InvalidParameter.Protocol"
	CodeInput    = "InvalidParameter.Input"
	CodeOutput   = "InvalidParameter.Output"
	CodeName     = "InvalidParameter.Name"
	CodeNotFound = "InvalidParameter.NotFound"
	CodeState    = "InvalidParameter.State"
	CodeQuantity = "InvalidParameter.ExceededQuantityLimit"
)

// Faultf returns a Fault whose code is that of its place.
func Faultf(pointer, format string, args ...any) Fault {
	return Fault{Pointer: pointer, Message: fmt.Sprintf(format, args...)}
}
