package pgmeta

import "github.com/berth-registry/berth/pkg/fault"

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
