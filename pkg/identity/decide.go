package identity

// Pair is what the two sides carry at one moment.
type Pair struct {
	Database, Store Identity
}

// Sample is what a bounded look at both sides found. It decides where a side
// carries no identity, since then only their contents can say whether they
// belong together.
type Sample struct {
	Rows    int // rows of objects that were looked at
	Live    int // of these, rows of live objects
	Found   int // of these, rows whose object is in the store with the right size
	Stored  int // objects of the store that were looked at
	Unknown int // of these, objects that no row knows
}

// State is how the two sides are to each other.
type State int

// The states. All but the first three are refused unless an operator accepts
// them.
const (
	// Agree: both carry one identity, and the store is not ahead.
	Agree State = iota
	// Empty: neither carries an identity, and neither holds anything.
	Empty
	// Unnamed: at least the store carries no identity, and what both hold belongs
	// together: a deployment of before there were identities.
	Unnamed
	// Behind: the database is behind its store. It was restored, cloned, or has
	// lost transactions.
	Behind
	// Foreign: the store is that of another deployment.
	Foreign
	// NoStore: the database has been served with a store that is not this one.
	NoStore
	// NoDatabase: the store holds what no row of the database knows.
	NoDatabase
)

// NeedsSample says whether State looks at the sample.
func (p Pair) NeedsSample() bool {
	return p.Store.IsZero() && p.Database.Generation == 0 || p.Database.IsZero()
}

// State decides. The sample counts only where NeedsSample says so.
func (p Pair) State(s Sample) State {
	db, store := p.Database, p.Store
	switch {
	case store.IsZero() && db.Generation > 0:
		return NoStore
	case store.IsZero():
		return s.state()
	case db.IsZero() && s.state() == Unnamed:
		return Behind // a backup of before there were identities
	case db.IsZero():
		return NoDatabase
	case db.Deployment != store.Deployment:
		return Foreign
	case db.Generation < store.Generation:
		return Behind
	default:
		return Agree
	}
}

// state is how two sides are to each other by what they hold. A few lost objects
// do not make a store another's, nor do a few that no row knows.
func (s Sample) state() State {
	switch {
	case s.Rows == 0 && s.Stored == 0:
		return Empty
	case 2*s.Found < s.Live:
		return NoStore
	case 2*s.Unknown > s.Stored:
		return NoDatabase
	default:
		return Unnamed
	}
}

// Accepted is what an operator has said to continue in spite of.
type Accepted struct {
	Restored bool // Behind
	Store    bool // Foreign, NoStore and NoDatabase
}

// Allows says whether a deployment in this state may be used.
func (a Accepted) Allows(s State) bool {
	switch s {
	case Agree, Empty, Unnamed:
		return true
	case Behind:
		return a.Restored
	default:
		return a.Store
	}
}
