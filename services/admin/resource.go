package admin

import (
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// absent turns the outcome of a lookup around: what is found exists already.
func absent[T any](_ T, err error) error {
	switch {
	case err == nil:
		return fault.New(fault.Conflict, fault.AlreadyExists, "a resource with this ID already exists")
	case fault.Is(err, fault.ResourceUnknown):
		return nil
	default:
		return err
	}
}

// deleted answers a delete; where the request allows it, what is missing counts
// as deleted.
func deleted(err error, req interface{ GetAllowMissing() bool }) (*emptypb.Empty, error) {
	missing := fault.Is(err, fault.ResourceUnknown) || fault.Is(err, fault.NameUnknown)
	if err != nil && !(missing && req.GetAllowMissing()) {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// mapped applies f to each row.
func mapped[T, M any](rows []T, f func(T) M) []M {
	out := make([]M, len(rows))
	for i, row := range rows {
		out[i] = f(row)
	}
	return out
}

// noLimit is that of resources of which there may be any number.
var noLimit = meta.Limit{Most: -1}

// room says for a creation that is only validated what the store would say of one
// more of what list lists.
func room[T any](l meta.Limit, list func(meta.Page) ([]T, error)) error {
	if l.Unlimited() {
		return nil
	}
	rows, err := list(meta.Page{Size: l.Most})
	if err != nil {
		return err
	}
	return l.Check(len(rows) + 1)
}
