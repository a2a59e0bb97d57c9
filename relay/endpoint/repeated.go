package endpoint

import "time"

const (
	// RepeatedEvery is how often the same thing is worth a line in the log.
	RepeatedEvery = time.Minute
	// mostRepeated bounds what is remembered. Texts hold addresses and ports,
	// of which a stranger may choose many.
	mostRepeated = 64
)

// Repeated tells what of that which happens over and over is worth a line in
// the log: what is new at once, and the same again no more than once in
// RepeatedEvery. The zero value is of use; it is for one goroutine at a time.
type Repeated struct {
	said map[string]*mention
}

type mention struct {
	at     time.Time // it was logged
	silent int       // times since
}

// Worth tells whether it is to be logged that what has happened now, and how
// often it was passed over since it last was.
func (r *Repeated) Worth(what string) (passedOver int, yes bool) {
	now := time.Now()
	m := r.said[what]
	if m != nil && now.Sub(m.at) < RepeatedEvery {
		m.silent++
		return 0, false
	}
	if m == nil {
		r.makeRoom(now)
		m = &mention{}
		r.said[what] = m
	}
	passedOver = m.silent
	*m = mention{at: now}
	return passedOver, true
}

// makeRoom forgets what was not said for long, or else what was said first.
func (r *Repeated) makeRoom(now time.Time) {
	if r.said == nil {
		r.said = make(map[string]*mention)
	}
	if len(r.said) < mostRepeated {
		return
	}
	var first string
	for what, m := range r.said {
		if now.Sub(m.at) >= RepeatedEvery {
			delete(r.said, what)
		} else if first == "" || m.at.Before(r.said[first].at) {
			first = what
		}
	}
	if len(r.said) >= mostRepeated {
		delete(r.said, first)
	}
}
