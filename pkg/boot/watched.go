package boot

import (
	"io/fs"
	"os"
	"sync"
	"time"
)

// watchInterval is how often a watched file is looked at, while it is used.
const watchInterval = 2 * time.Second

// watched is a file that is read again when it changes.
type watched struct {
	path string

	mu      sync.Mutex
	checked time.Time
	seen    fs.FileInfo // when changed last reported true; nil if the file was missing
}

// watch begins before the file is read, so that no change is missed.
func watch(path string) watched {
	seen, _ := os.Stat(path)
	return watched{path: path, checked: time.Now(), seen: seen}
}

// changed reports whether the file is another one than at the last change, or missing since
// then. The caller holds mu.
func (w *watched) changed() bool {
	if time.Since(w.checked) < watchInterval {
		return false
	}
	w.checked = time.Now()
	now, err := os.Stat(w.path)
	if err != nil && w.seen == nil || err == nil && isSameReading(w.seen, now) {
		return false
	}
	w.seen = now
	return true
}

func isSameReading(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
