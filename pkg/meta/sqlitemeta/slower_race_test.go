//go:build race

package sqlitemeta

// slower is how much longer everything takes under the race detector.
const slower = 10
