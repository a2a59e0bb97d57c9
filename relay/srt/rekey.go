package srt

import (
	"bytes"
	"time"
)

// How often the sending key is changed (SRTO_KMREFRESHRATE) and how long before that the
// peer is given the next one (SRTO_KMPREANNOUNCE), in packets.
const (
	refreshEvery    = 1 << 24
	refreshAnnounce = 1 << 12
)

// keys are those of a connection, one ring for each direction; nil where it is
// clear.
type keys struct {
	receive, send   *keyring
	every, announce uint64 // packets

	parity    int           // of the sending key in use
	used      uint64        // packets encrypted with it
	announced bool          // the next key is there
	confirmed bool          // and the peer has it
	offer     []byte        // the message that gave it, which the peer returns
	asked     time.Duration // when it was last given to it
}

// next returns the parity that the next packet is encrypted with. The key is
// changed once it is used up and the peer has the other one: never before.
func (k *keys) next() int {
	k.used++
	if k.used > k.every && k.confirmed {
		k.parity, k.used = 1-k.parity, 1
		k.announced, k.confirmed = false, false
	}
	return k.parity
}

// announceKeys makes the next key when it is time, and gives it to the peer
// until it says that it has it.
func (c *conn) announceKeys(at time.Duration) {
	k := &c.keys
	if k.used+k.announce < k.every || k.confirmed {
		return
	}
	if !k.announced {
		if k.send.renew(1-k.parity) != nil {
			return
		}
		k.announced, k.asked = true, 0
	}
	if k.asked != 0 && at-k.asked < c.patience()+keepAliveAfter/10 {
		return
	}
	m, err := k.send.message()
	if err != nil {
		return
	}
	var b bytes.Buffer
	_ = m.Marshal(&b) // only an absent writer is an error
	k.asked, k.offer = at, b.Bytes()
	c.user(controlUser, extensionKMReq, 0, k.offer)
}
