package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
)

// collect reads all rows of a query, each by the noun's own scan function.
func collect[Noun any](ctx context.Context, s *Store, read func(scan) (Noun, error), query string, args ...any) ([]Noun, error) {
	nouns := []Noun{}
	err := s.list(ctx, query, args, func(scan scan) error {
		n, err := read(scan)
		nouns = append(nouns, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return nouns, nil
}

// only is the one noun that was collected; missing says what to answer when
// there is none.
func only[Noun any](found []Noun, err, missing error) (Noun, error) {
	var none Noun
	switch {
	case err != nil:
		return none, err
	case len(found) == 0:
		return none, missing
	default:
		return found[0], nil
	}
}

// checkVersion compares the version that a change was made for with the one
// that is there; 0 means whatever is there.
func checkVersion(have, want int64) error {
	if want == 0 || want == have {
		return nil
	}
	return fault.New(fault.Conflict, fault.EtagMismatch, "the resource was modified; fetch it and retry").WithField("etag")
}
