//go:build race

package console

// raced is how many times fewer streams and bytes there are where the race
// detector makes each of them slower.
const raced = 16
