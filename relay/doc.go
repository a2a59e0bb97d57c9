// Package relay moves live streams: every configured flow has inputs that
// receive it and outputs that send it on. The Engine brings what runs in line
// with what is configured, keeps it running, and tells how it is.
//
//	NIC -> input -> flow (ring) -> cursor -> output -> NIC
//
// What an input or output does on the wire is in the package of its protocol;
// this one holds their configuration, their supervision and their state.
package relay
