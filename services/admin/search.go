package admin

import (
	"strconv"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// mostScanned is how many rows a page reads at most to find those that its filter
// asks for: a page costs the same at any length of the list, and may be short.
const mostScanned = 10_000

// searchRequest is a pageRequest of a list that can be filtered and ordered.
type searchRequest interface {
	pageRequest
	GetFilter() string
	GetOrderBy() string
}

// search is a list of rows that are ordered by a key.
type search[Row any, Key string | int64] struct {
	list, parent string // as for listPage
	fetch        func(meta.Between[Key]) ([]Row, error)
	key          func(Row) Key
	matches      func(Row) bool // nil: all rows match
}

// page answers one page of the rows in all.
func (f search[Row, Key]) page(tokens pageTokens, req searchRequest, all meta.Between[Key]) ([]Row, string, error) {
	size, err := pageSize(req)
	if err != nil {
		return nil, "", err
	}
	bound := f.bound(req)
	token, err := tokens.open(bound, f.parent, req.GetPageToken())
	if err != nil {
		return nil, "", err
	}
	left := all
	if token != "" {
		last, err := parseKey[Key](token)
		if err != nil {
			return nil, "", err
		}
		left = left.Past(last)
	}
	rows, last, err := f.scan(left, size)
	if err != nil || last == "" {
		return rows, "", err
	}
	return rows, tokens.seal(bound, f.parent, last), nil
}

// bound is what page tokens are bound to: the list with filter and order, quoted
// so that none can flow into the next.
func (f search[Row, Key]) bound(req searchRequest) string {
	if req.GetFilter() == "" && req.GetOrderBy() == "" {
		return f.list
	}
	return f.list + " filter " + strconv.Quote(req.GetFilter()) + " order " + strconv.Quote(req.GetOrderBy())
}

// scan goes through the rows in left until it has size of them that match, and
// returns the key where the next page begins; "" if there is none.
func (f search[Row, Key]) scan(left meta.Between[Key], size int) ([]Row, string, error) {
	batchSize := size + 1 // one more says whether there is a next page
	if f.matches != nil {
		batchSize = max(batchSize, largestPage)
	}
	var rows []Row
	var last Key
	for scanned := 0; scanned < mostScanned; {
		left.Size = min(batchSize, mostScanned-scanned)
		batch, err := f.fetch(left)
		if err != nil {
			return nil, "", err
		}
		for _, row := range batch {
			if f.matches == nil || f.matches(row) {
				if len(rows) == size {
					return rows, formatKey(last), nil
				}
				rows = append(rows, row)
			}
			last = f.key(row)
		}
		if len(batch) < left.Size {
			return rows, "", nil
		}
		scanned += len(batch)
		left = left.Past(last)
	}
	return rows, formatKey(last), nil
}

func formatKey[Key string | int64](key Key) string {
	if n, ok := any(key).(int64); ok {
		return strconv.FormatInt(n, 10)
	}
	return any(key).(string)
}

func parseKey[Key string | int64](token string) (Key, error) {
	var key Key
	var err error
	switch to := any(&key).(type) {
	case *string:
		*to = token
	case *int64:
		if *to, err = strconv.ParseInt(token, 10, 64); err != nil {
			err = fault.Wrap(err, fault.Invalid, fault.PageTokenInvalid, "the page token was not issued by this list").WithField("page_token")
		}
	}
	return key, err
}
