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
	refuseBacklog      refusal = 1005
	refuseClosing      refusal = 1007
	refuseVersion      refusal = 1008
	refuseBadSecret    refusal = 1010
	refuseUnsecure     refusal = 1011
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
	code, why := "peer", "without saying why"
	switch r {
	case refuseResource, refuseBacklog:
		code, why = "busy", "it has no room for another connection"
	case refuseClosing:
		code, why = "closing", "it is shutting down"
	case refuseVersion:
		code, why = "version", "it wants a newer version of SRT"
	case refuseBadSecret:
		code, why = "bad_secret", "the passphrase is wrong"
	case refuseUnsecure:
		code, why = "unsecure", "it wants a passphrase and none is set here"
		if encrypted {
			why = "it does not use encryption and a passphrase is set here"
		}
	case refuseUnauthorized:
		code, why = "unauthorized", "it does not accept who we say we are in the stream id"
	case refuseOverload:
		code, why = "overload", "it has as many connections as it takes"
	case refuseForbidden:
		code, why = "forbidden", "we may not connect to it"
	case refuseNotFound:
		code, why = "not_found", "it knows nothing by our stream id"
	case refuseBadMode:
		code, why = "bad_mode", "our stream id asks for the wrong direction"
	case refuseUnacceptable:
		code, why = "unacceptable", "it cannot work with our stream id or key length"
	case refuseConflict:
		code, why = "conflict", "another source is publishing there"
	case refusePeer:
	default:
		why = fmt.Sprintf("with code %d", uint32(r))
	}
	if r == refusePeer || code == "peer" {
		return endpoint.Because(code, "%s refused the connection %s", peer, why)
	}
	return endpoint.Because(code, "%s refused the connection: %s", peer, why)
}
