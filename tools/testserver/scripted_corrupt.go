package testserver

import (
	"bytes"
	"maps"
	"slices"
)

// The corruptions: other bytes than right, with the header of the right ones
// except for Content-Length, which is that of what comes.
const (
	CorruptFirstByte  Fault = "first byte flipped"
	CorruptMiddleByte Fault = "middle byte flipped"
	CorruptLastByte   Fault = "last byte flipped"
	CorruptShort      Fault = "short by one"
	CorruptLong       Fault = "long by one"
	CorruptEmpty      Fault = "empty"
	CorruptOther      Fault = "another's content"
	CorruptSameLength Fault = "right length, wrong bytes"
	CorruptDoubled    Fault = "doubled"
	CorruptNoEnd      Fault = "chunked without end"     // the right bytes, then nothing
	CorruptCut        Fault = "chunked, cut in the mid" // Script.At right bytes
	CorruptTrailing   Fault = "trailing garbage"
)

// Corruptions are all faults of bytes, 12 of them (contract row E6). They concern
// manifests and blobs.
func Corruptions() []Fault { return slices.Sorted(maps.Keys(corruptions)) }

var corruptions = map[Fault]faultKind{
	CorruptFirstByte:  corruption(flip(func(int) int { return 0 })),
	CorruptMiddleByte: corruption(flip(func(size int) int { return size / 2 })),
	CorruptLastByte:   corruption(flip(func(size int) int { return size - 1 })),
	CorruptShort:      corruption(body(func(b []byte) []byte { return b[:len(b)-1] })),
	CorruptLong:       corruption(body(func(b []byte) []byte { return append(bytes.Clone(b), '\n') })),
	CorruptEmpty:      corruption(body(empty)),
	CorruptOther:      corruption((*scene).otherContent),
	CorruptSameLength: corruption(body(func(b []byte) []byte { return bytes.Repeat([]byte{'x'}, len(b)) })),
	CorruptDoubled:    corruption(body(func(b []byte) []byte { return slices.Concat(b, b) })),
	CorruptNoEnd:      corruption((*scene).noEnd),
	CorruptCut:        corruption((*scene).cut),
	CorruptTrailing:   corruption(body(func(b []byte) []byte { return append(bytes.Clone(b), "\r\nHTTP/1.1 200 OK\r\n\r\n"...) })),
}

func corruption(play func(*scene)) faultKind {
	return faultKind{outcome: OutcomeOutage, on: content, reach: reachBodies, play: play}
}

// flip changes one bit of the byte at.
func flip(at func(size int) int) func(*scene) {
	return body(func(b []byte) []byte {
		b = bytes.Clone(b)
		b[at(len(b))] ^= 1
		return b
	})
}

func empty([]byte) []byte { return nil }

func brokenJSON([]byte) []byte { return []byte(`{"schemaVersion": 2, "token": "`) }
