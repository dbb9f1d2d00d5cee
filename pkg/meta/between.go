package meta

// Between selects at most Size rows with After < key < Before, in order of key, or
// in reverse with Descending. Both ends are always set.
type Between[Key string | int64] struct {
	After, Before Key
	Descending    bool
	Size          int
}

// Past selects the rows that follow the row with this key.
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
