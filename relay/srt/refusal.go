package srt

import (
	"fmt"

	"sluice/relay/endpoint"
)

// A refusal is the code with which a listener turns a caller away
// (draft-sharabayko-srt section 3.2.1, table 7; from 1400 on the codes of
// libsrt's access control document).
type refusal uint32

const (
	refusePeer         refusal = 1002
	refuseResource     refusal = 1003
	refuseRogue        refusal = 1004
	refuseBacklog      refusal = 1005
	refuseClosing      refusal = 1007
	refuseVersion      refusal = 1008
	refuseBadSecret    refusal = 1010
	refuseUnsecure     refusal = 1011
	refuseMode         refusal = 1012
	refuseFilter       refusal = 1014
	refuseGroup        refusal = 1015
	refuseCrypto       refusal = 1017
	refuseUnauthorized refusal = 1401
	refuseOverload     refusal = 1402
	refuseForbidden    refusal = 1403
	refuseNotFound     refusal = 1404
	refuseBadMode      refusal = 1405
	refuseUnacceptable refusal = 1406
	refuseConflict     refusal = 1407
)

// reason says why a peer that we called refused us.
func (r refusal) reason(peer string, encrypted bool) *endpoint.Reason {
	code, why := r.explain(encrypted)
	return endpoint.Because(code, "%s refused the connection: %s", peer, why)
}

func (r refusal) explain(encrypted bool) (code, why string) {
	switch r {
	case refusePeer:
		return "peer", "it does not say why"
	case refuseResource, refuseBacklog:
		return "busy", "it has no room for another connection"
	case refuseClosing:
		return "closing", "it is shutting down"
	case refuseVersion:
		return "version", "it wants a newer version of SRT"
	case refuseBadSecret:
		return "bad_secret", "the passphrase is wrong"
	case refuseUnsecure:
		if encrypted {
			return "unsecure", "it does not use encryption and a passphrase is set here"
		}
		return "unsecure", "it wants a passphrase and none is set here"
	case refuseRogue:
		return "handshake", "it cannot work with our handshake"
	case refuseMode:
		return "mode", "it is set up for files or messages, not for live streams"
	case refuseFilter:
		return "filter", "it wants a packet filter"
	case refuseGroup:
		return "group", "it wants a bonded connection"
	case refuseCrypto:
		return "crypto", "it wants another cipher"
	case refuseUnauthorized:
		return "unauthorized", "it does not accept who we say we are in the stream id"
	case refuseOverload:
		return "overload", "it has as many connections as it takes"
	case refuseForbidden:
		return "forbidden", "we may not connect to it"
	case refuseNotFound:
		return "not_found", "it knows nothing by our stream id"
	case refuseBadMode:
		return "bad_mode", "our stream id asks for the wrong direction"
	case refuseUnacceptable:
		return "unacceptable", "it cannot work with our stream id or key length"
	case refuseConflict:
		return "conflict", "another source is publishing there"
	}
	return "peer", fmt.Sprintf("its code is %d", uint32(r))
}
