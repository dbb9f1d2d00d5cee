//go:build !race

package sqlitemeta

// slower is how much longer everything takes than without the race detector.
const slower = 1
