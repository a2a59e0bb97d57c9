//go:build !race

package console

const raced = 1
