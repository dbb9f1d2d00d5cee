// Package seal keeps secrets at rest, sealed so that they open only with the
// deployment's key and only where they belong.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// A sealed secret is a version, the id of the key, the nonce, and what AES-GCM
// makes of the secret.
const (
	version = 1
	idSize  = 8
	header  = 1 + idSize
)

// minKey is the least length of a key in bytes.
const minKey = 20

// errSealed says nothing of why: who may see it must not learn from it.
var errSealed = errors.New("seal: it cannot be opened with these keys, or not here")

// Keyring seals with its first key and opens with all. It is safe for concurrent
// use.
type Keyring struct{ keys []key }

type key struct {
	id   []byte
	aead cipher.AEAD
}

// New makes a Keyring. What it seals with is derived from the keys, which may
// have any form; they are refused when they are shorter than 20 bytes.
func New(keys ...[]byte) (*Keyring, error) {
	k := &Keyring{}
	for _, secret := range keys {
		if len(secret) < minKey {
			return nil, fmt.Errorf("seal: a key has at least %d bytes", minKey)
		}
		made, err := derive(secret)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, made)
	}
	return k, nil
}

func derive(secret []byte) (key, error) {
	const idUse, keyUse = "berth seal id", "berth seal key"
	id, err := hkdf.Key(sha256.New, secret, nil, idUse, idSize)
	if err != nil {
		return key{}, err
	}
	raw, err := hkdf.Key(sha256.New, secret, nil, keyUse, 32)
	if err != nil {
		return key{}, err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return key{id, aead}, err
}

// Empty says whether there is no key: nothing can be sealed or opened.
func (k *Keyring) Empty() bool { return len(k.keys) == 0 }

// Seal seals a secret for one place, which bound names, such as
// "tenants/7/upstreams/ghcr/password". It fails only without a key.
func (k *Keyring) Seal(secret, bound string) ([]byte, error) {
	if k.Empty() {
		return nil, errors.New("seal: there is no key to seal with")
	}
	first := k.keys[0]
	sealed := append([]byte{version}, first.id...)
	return first.aead.Seal(sealed, nil, []byte(secret), []byte(bound)), nil
}

// Open opens what Seal made for the same place with one of the keys.
func (k *Keyring) Open(sealed []byte, bound string) (string, error) {
	i := k.find(sealed)
	if i < 0 {
		return "", errSealed
	}
	secret, err := k.keys[i].aead.Open(nil, nil, sealed[header:], []byte(bound))
	if err != nil {
		return "", errSealed
	}
	return string(secret), nil
}

// Stale says whether sealed should be sealed again: another key than the first one
// opens it.
func (k *Keyring) Stale(sealed []byte) bool { return k.find(sealed) > 0 }

// find is the index of the key that sealed names; -1 when there is none.
func (k *Keyring) find(sealed []byte) int {
	if len(sealed) < header || sealed[0] != version {
		return -1
	}
	return slices.IndexFunc(k.keys, func(one key) bool { return slices.Equal(one.id, sealed[1:header]) })
}
