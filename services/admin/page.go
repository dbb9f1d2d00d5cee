package admin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Page sizes of all lists.
const (
	defaultPage = 100
	largestPage = 1000
)

// pageRequest is the part that all list requests share.
type pageRequest interface {
	GetPageSize() int32
	GetPageToken() string
}

// listPage answers one page of a list. list and parent bind the page token: it
// is good for this list of this parent only. key is what fetch's order goes by.
func listPage[T any](s *Service, list, parent string, req pageRequest,
	fetch func(meta.Page) ([]T, error), key func(T) string,
) ([]T, string, error) {
	size, err := pageSize(req)
	if err != nil {
		return nil, "", err
	}
	after, err := s.pages.open(list, parent, req.GetPageToken())
	if err != nil {
		return nil, "", err
	}
	rows, err := fetch(meta.Page{After: after, Size: size + 1}) // one more says whether there is a next page
	if err != nil {
		return nil, "", err
	}
	if len(rows) <= size {
		return rows, "", nil
	}
	rows = rows[:size]
	return rows, s.pages.seal(list, parent, key(rows[size-1])), nil
}

// pageOfAll answers one page of a list that is here as a whole, in any order.
func pageOfAll[T any](s *Service, list, parent string, req pageRequest, all []T, key func(T) string) ([]T, string, error) {
	return listPage(s, list, parent, req, func(p meta.Page) ([]T, error) {
		rest := slices.DeleteFunc(all, func(row T) bool { return key(row) <= p.After })
		slices.SortFunc(rest, func(x, y T) int { return strings.Compare(key(x), key(y)) })
		return rest[:min(len(rest), p.Size)], nil
	}, key)
}

// pageSize is how many rows the caller wants at most.
func pageSize(req pageRequest) (int, error) {
	switch size := int(req.GetPageSize()); {
	case size < 0:
		return 0, invalid("page_size", "a page has no negative size")
	case size == 0:
		return defaultPage, nil
	case size > largestPage:
		return largestPage, nil
	default:
		return size, nil
	}
}

// pageTokens makes and checks page tokens: base64url of a MAC and the key of
// the last row seen. The MAC keeps clients from making positions up.
type pageTokens struct {
	key    []byte
	hidden bool // tokens are encrypted
}

// secret are tokens whose key of a row is not for clients: it may be of one that they do not
// see. All of them are of one length, whatever the key is.
func (p pageTokens) secret() pageTokens {
	p.hidden = true
	return p
}

const (
	pageMAC          = 16   // bytes of HMAC-SHA256 that are kept
	longestPageToken = 1024 // characters
	hiddenKey        = 512  // bytes of the key of a row in a secret token, filled up with zeros
)

func (p pageTokens) seal(list, parent, after string) string {
	if p.hidden {
		padded := append([]byte(after), make([]byte, max(hiddenKey-len(after), 0))...)
		return base64.RawURLEncoding.EncodeToString(p.cipher().Seal(nil, nil, padded, p.mac(list, parent)))
	}
	return base64.RawURLEncoding.EncodeToString(append(p.mac(list, parent, after), after...))
}

// open returns what was sealed; "" for the empty token, which is the first page.
func (p pageTokens) open(list, parent, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	bad := fault.New(fault.Invalid, fault.PageTokenInvalid, "the page token was not issued by this list").WithField("page_token")
	if len(token) > longestPageToken {
		return "", bad
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) <= pageMAC {
		return "", bad
	}
	if p.hidden {
		after, err := p.cipher().Open(nil, nil, raw, p.mac(list, parent))
		if err != nil {
			return "", bad
		}
		return strings.TrimRight(string(after), "\x00"), nil
	}
	after := string(raw[pageMAC:])
	if !hmac.Equal(raw[:pageMAC], p.mac(list, parent, after)) {
		return "", bad
	}
	return after, nil
}

// cipher encrypts under a key of its own, and chooses nonces.
func (p pageTokens) cipher() cipher.AEAD {
	key := hmac.New(sha256.New, p.key)
	key.Write([]byte("hidden page tokens"))
	block, err := aes.NewCipher(key.Sum(nil))
	if err != nil {
		panic(err) // only for a wrong length of the key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for another size of blocks
	}
	return aead
}

// mac authenticates the three parts, each with its length before it so that
// none can flow into the next.
func (p pageTokens) mac(parts ...string) []byte {
	h := hmac.New(sha256.New, p.key)
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:pageMAC]
}
