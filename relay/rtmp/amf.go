package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/yutopp/go-amf0"
)

// What AMF0 from outside may hold, at most. go-amf0 decodes without bounds, and
// not every type that programs send, so it encodes what we send and what comes
// is decoded here.
const (
	mostAMFDepth  = 8
	mostAMFValues = 1024 // in one message
)

var (
	errAMF       = errors.New("AMF0 cannot be read")
	errAMFLimits = errors.New("AMF0 holds too much")
)

// A decoder reads AMF0 values (Adobe AMF0 specification). Numbers and dates are
// float64; objects and arrays by name are map[string]any, and arrays []any;
// null, undefined and references are nil.
type decoder struct {
	b      []byte
	values int
}

// decodeAMF reads all values. What follows one that cannot be read is left
// out: error tells why, and values holds what came before.
func decodeAMF(b []byte) (values []any, err error) {
	d := decoder{b: b}
	for len(d.b) > 0 {
		v, err := d.value(0)
		if err != nil {
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

func (d *decoder) value(depth int) (any, error) {
	d.values++
	if depth > mostAMFDepth || d.values > mostAMFValues {
		return nil, errAMFLimits
	}
	marker, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch amf0.Marker(marker[0]) {
	case amf0.MarkerNumber:
		return d.number()
	case amf0.MarkerBoolean:
		b, err := d.take(1)
		return err == nil && b[0] != 0, err
	case amf0.MarkerString:
		return d.text(2)
	case amf0.MarkerLongString, amf0.MarkerXMLDocument:
		return d.text(4)
	case amf0.MarkerNull, amf0.MarkerUndefined, amf0.MarkerUnsupported:
		return nil, nil
	case amf0.MarkerReference:
		_, err := d.take(2)
		return nil, err
	case amf0.MarkerDate:
		n, err := d.number()
		if err == nil {
			_, err = d.take(2) // the time zone, which is not used
		}
		return n, err
	case amf0.MarkerObject:
		return d.object(depth)
	case amf0.MarkerTypedObject:
		if _, err := d.text(2); err != nil {
			return nil, err
		}
		return d.object(depth)
	case amf0.MarkerEcmaArray:
		if _, err := d.take(4); err != nil { // a number that programs get wrong
			return nil, err
		}
		return d.object(depth)
	case amf0.MarkerStrictArray:
		return d.array(depth)
	}
	return nil, fmt.Errorf("%w: marker %#02x", errAMF, marker[0])
}

func (d *decoder) object(depth int) (map[string]any, error) {
	o := make(map[string]any)
	for {
		name, err := d.text(2)
		if err != nil {
			return nil, err
		}
		if name == "" && len(d.b) > 0 && amf0.Marker(d.b[0]) == amf0.MarkerObjectEnd {
			d.b = d.b[1:]
			return o, nil
		}
		if len(d.b) == 0 {
			return o, nil // some encoders leave the end out
		}
		if o[name], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
}

func (d *decoder) array(depth int) ([]any, error) {
	n, err := d.take(4)
	if err != nil {
		return nil, err
	}
	var a []any
	for range binary.BigEndian.Uint32(n) {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}

func (d *decoder) number() (float64, error) {
	b, err := d.take(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// text reads a string with a length of that many bytes.
func (d *decoder) text(width int) (string, error) {
	b, err := d.take(width)
	if err != nil {
		return "", err
	}
	n := 0
	for _, c := range b {
		n = n<<8 | int(c)
	}
	b, err = d.take(n)
	return string(b), err
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.b) {
		return nil, fmt.Errorf("%w: it ends too soon", errAMF)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b, nil
}

// encodeAMF returns the values as AMF0: strings shorter than 64 KiB, numbers,
// nil, slices, maps, and structs with the tag amf0.
func encodeAMF(values ...any) []byte {
	var b bytes.Buffer
	e := amf0.NewEncoder(&b)
	for _, v := range values {
		_ = e.Encode(v) // a buffer takes everything
	}
	return b.Bytes()
}
