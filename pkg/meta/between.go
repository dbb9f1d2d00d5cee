package meta

// Between asks for at most Size rows whose keys are greater than After and less
// than Before, both exclusive, by key; with Descending the greatest first. Both
// ends are always given.
type Between[Key string | int64] struct {
	After, Before Key
	Descending    bool
	Size          int
}

// Past is the rest of the rows when the one with this key was the last seen.
func (b Between[Key]) Past(key Key) Between[Key] {
	if b.Descending {
		b.Before = key
	} else {
		b.After = key
	}
	return b
}

// LastName is greater than all names of repositories and all tags.
const LastName = "\x7f"
