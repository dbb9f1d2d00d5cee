// Package identity says which deployment a database and a blob store belong to,
// and whether the two belong together.
//
// Both carry the same Identity: the database in a row, the store in an object
// beside its blobs. Each start raises the generation, in the database first. So
// the database is at the store's generation or ahead of it, by what a crash cut
// off, and a database that is behind was restored from a backup, cloned, or has
// lost transactions.
package identity

import (
	"encoding/json"
	"errors"

	"github.com/google/uuid"
)

// Identity is what one side carries. The zero value is that of a side that
// carries none.
type Identity struct {
	Deployment uuid.UUID `json:"deployment"`
	Generation int64     `json:"generation"` // 0 = chosen by a first start that did not come to its end
}

// New is the identity of a new deployment.
func New() Identity { return Identity{Deployment: uuid.New()} }

// IsZero says whether a side carries no identity.
func (i Identity) IsZero() bool { return i == Identity{} }

// MaxBytes bounds the text of an identity.
const MaxBytes = 1 << 10

// note tells who finds the text in a blob store what it is.
const note = "The identity of the Berth deployment that keeps its blobs here. Without it Berth does not start. Do not change or remove it."

type text struct {
	Identity
	Note string `json:"note"`
}

// Marshal is the identity as the text that a blob store keeps.
func (i Identity) Marshal() []byte {
	b, err := json.MarshalIndent(text{i, note}, "", "  ")
	if err != nil {
		panic(err) // a value of these types is always written
	}
	return append(b, '\n')
}

var errText = errors.New("it is not the text of an identity")

// Parse reads what Marshal wrote.
func Parse(b []byte) (Identity, error) {
	var t text
	if len(b) > MaxBytes || json.Unmarshal(b, &t) != nil || t.Deployment == uuid.Nil || t.Generation < 0 {
		return Identity{}, errText
	}
	return t.Identity, nil
}
