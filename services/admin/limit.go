package admin

import "github.com/berth-registry/berth/pkg/meta"

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
