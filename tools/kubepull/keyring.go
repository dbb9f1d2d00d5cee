package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// login is an entry of a docker config file.
type login struct{ Username, Password string }

// keyring is the entries of a pull secret by what they are for, a host and
// perhaps a path, in the order in which kubelet tries them.
type keyring []entry

type entry struct {
	place string
	login login
}

// keyringOf reads a Secret of type kubernetes.io/dockerconfigjson.
func keyringOf(secret []byte) (keyring, error) {
	var s struct {
		Type string            `json:"type"`
		Data map[string][]byte `json:"data"`
	}
	if err := json.Unmarshal(secret, &s); err != nil {
		return nil, fmt.Errorf("the secret cannot be read: %w", err)
	}
	if want := "kubernetes.io/dockerconfigjson"; s.Type != want {
		return nil, fmt.Errorf("the secret is of type %q, but a pull secret is of type %q", s.Type, want)
	}
	var config struct {
		Auths map[string]struct {
			login
			Auth []byte `json:"auth"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(s.Data[".dockerconfigjson"], &config); err != nil {
		return nil, fmt.Errorf(".dockerconfigjson cannot be read: %w", err)
	}
	var keys keyring
	for server, a := range config.Auths {
		place, err := placeOf(server)
		if err != nil {
			return nil, err
		}
		l := a.login
		if name, password, ok := strings.Cut(string(a.Auth), ":"); ok {
			l = login{name, password}
		}
		keys = append(keys, entry{place, l})
	}
	if len(keys) == 0 {
		return nil, errors.New(".dockerconfigjson has no credential below auths")
	}
	slices.SortFunc(keys, func(a, b entry) int { return strings.Compare(b.place, a.place) })
	return keys, nil
}

// placeOf is a server of the file without its scheme, and without the version
// that old clients append.
func placeOf(server string) (string, error) {
	u, err := parse(server)
	if err != nil {
		return "", err
	}
	at := u.Path
	if strings.HasPrefix(at, "/v1/") || strings.HasPrefix(at, "/v2/") {
		at = at[len("/v1"):]
	}
	return u.Host + strings.TrimSuffix(at, "/"), nil
}

func parse(server string) (*url.URL, error) {
	if !strings.HasPrefix(server, "https://") && !strings.HasPrefix(server, "http://") {
		server = "https://" + server
	}
	return url.Parse(server)
}

// lookup returns all logins for the image, the most specific first.
func (k keyring) lookup(image string) []login {
	var found []login
	for _, e := range k {
		if matches(e.place, image) {
			found = append(found, e.login)
		}
	}
	return found
}

// matches compares hosts label by label, where * stands for one label or a part
// of it; ports must be equal; a path is a prefix.
func matches(place, image string) bool {
	want, errWant := parse(place)
	have, errHave := parse(image)
	if errWant != nil || errHave != nil || want.Port() != have.Port() || !strings.HasPrefix(have.Path, want.Path) {
		return false
	}
	labels, of := strings.Split(want.Hostname(), "."), strings.Split(have.Hostname(), ".")
	if len(labels) != len(of) {
		return false
	}
	for i := range labels {
		if ok, err := path.Match(labels[i], of[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
