package srt

import (
	"slices"
	"testing"
	"time"

	"sluice/relay/gate"
)

// FuzzPair has two connections talk while somebody between them, who has no
// key, does to their datagrams what he likes, and adds his own. When he leaves,
// the stream goes on; at no time does anything come out that was not sent.
func FuzzPair(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add(slices.Repeat([]byte{0, 9, 1, 0, 2, 1, 3, 0, 0, 9}, 20))                // loses, repeats and swaps
	f.Add(slices.Repeat([]byte{0, 5, 4, 0, 2, 9, 0, 1, 4, 1, 3, 7, 0, 2, 1}, 20)) // forges reports
	f.Add(slices.Repeat([]byte{0, 5, 5, 40, 9, 5, 30, 200, 6, 0, 3, 6, 1, 4}, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSimulation(t, simulation{step: tick, interval: 5 * time.Millisecond, delay: 2 * time.Millisecond}, keysFor(true))
		s.from.conn.keys.every, s.from.conn.keys.announce = 200, 100
		s.run(500 * time.Millisecond)
		var recorded [2][][]byte
		r, q := s.to.conn.half.(*receiver), s.from.conn.half.(*sender)
		script := script{b}
		for range 300 {
			if script.ended() {
				break
			}
			op, to := script.byte()%7, script.byte()%2
			end := []*simEnd{s.to, s.from}[to]
			for _, m := range end.mail {
				if len(recorded[to]) < 100 {
					recorded[to] = append(recorded[to], m.data)
				}
			}
			switch n := len(end.mail); {
			case op == 0:
				s.run(s.now + time.Duration(script.byte()%32)*tick)
			case op == 1 && n > 0:
				end.mail = end.mail[1:]
			case op == 2 && n > 0:
				end.mail = append(end.mail, simMail{s.now, end.mail[0].data})
			case op == 3 && n > 1:
				end.mail[0], end.mail[1] = end.mail[1], end.mail[0]
			case op == 4: // control packets, but for a goodbye
				kind := []controlType{controlKeepAlive, controlACK, controlNAK, controlACKACK, controlDropReq, controlUser, 9}[script.byte()%7]
				h := header{control: true, kind: kind, subtype: uint16(script.byte() % 6), specific: script.word(), time: script.word(), to: end.conn.id}
				body := script.passage()
				if kind == controlACK && script.byte()%2 == 0 {
					body = fullACK(script.near(q.first), script.word(), script.word(), script.word())
				}
				p := make([]byte, headerSize)
				h.put(p)
				end.mail = append(end.mail, simMail{s.now, append(p, body...)})
			case op == 5: // data in clear
				h := header{sequence: script.near(r.top), flags: flagSolo | uint32(script.byte()&4)<<24 | 1, time: script.word(), to: end.conn.id}
				p := make([]byte, headerSize)
				h.put(p)
				end.mail = append(end.mail, simMail{s.now, append(p, marked(inClear, payloadSize)...)})
			case op == 6 && len(recorded[to]) > 0:
				old := recorded[to][int(script.byte())%len(recorded[to])]
				end.mail = append(end.mail, simMail{s.now, old})
			}
			r.audit(t)
			q.audit(t)
		}
		s.run(s.now + 6*time.Second) // his lies are forgotten
		got := s.got
		s.run(s.now + time.Second)
		s.alive()
		if s.altered > 0 {
			t.Fatalf("%d packets were altered", s.altered)
		}
		if s.got < got+150 {
			t.Fatalf("%d packets came in the last second", s.got-got)
		}
		s.from.conn.end(gate.ErrKicked)
		sum := s.from.ledger.Sent.Load()
		for _, n := range s.from.ledger.Dropped() {
			sum += n
		}
		if taken := s.from.ledger.Taken.Load(); taken != sum {
			t.Fatalf("%d taken, %d sent and dropped", taken, sum)
		}
	})
}
