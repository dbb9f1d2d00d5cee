package fsblob

import "sync"

const (
	// An Append has one buffer for sure and at most bufferCount: one is written
	// while the next ones are read and hashed. All of them together have at
	// most extraBuffers more than one each, which bounds the memory of many
	// uploads without making any wait for another.
	bufferSize   = 256 << 10
	bufferCount  = 3
	extraBuffers = 64
)

type buffer = [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// take returns a buffer to read into: one that was written, else one more, else
// the next that is written. It returns nil when the writing side has ended.
func (a *appending) take() *buffer {
	select {
	case b := <-a.free:
		return b
	default:
	}
	if a.grow() {
		return buffers.Get().(*buffer)
	}
	select {
	case b := <-a.free:
		return b
	case <-a.ended:
		return nil
	}
}

// grow says whether this Append may have one more buffer, and counts it.
func (a *appending) grow() bool {
	switch a.held {
	case 0:
	case bufferCount:
		return false
	default:
		select {
		case a.store.extra <- struct{}{}:
		default:
			return false
		}
	}
	a.held++
	return true
}

// recycle gives the buffers back for other uploads.
func (a *appending) recycle() {
	close(a.free)
	for b := range a.free {
		buffers.Put(b)
	}
	for ; a.held > 1; a.held-- {
		<-a.store.extra
	}
}
