package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
)

// pushLayer pushes a blob.
func pushLayer(t *testing.T, addr, content string) {
	t.Helper()
	d := oci.DigestOf(oci.SHA256, []byte(content))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://%s/v2/team/app/blobs/uploads/?digest=%s", addr, d), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "localhost"
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("push: %d, %v", resp.StatusCode, err)
	}
}

// damage flips a byte of the object with the content, or removes the object.
func damage(t *testing.T, dir, content string, lose bool) {
	t.Helper()
	done := false
	err := filepath.WalkDir(filepath.Join(dir, "blobs", "o"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || string(text) != content {
			return err
		}
		done = true
		if lose {
			return os.Remove(path)
		}
		text[0] ^= 1
		return os.WriteFile(path, text, 0o600)
	})
	if err != nil || !done {
		t.Fatalf("%q: %t, %v", content, done, err)
	}
}

// TestW81_FsckRepairs by the server that runs, and alone where none does: both name what is
// damaged, and the next push repairs it.
func TestW81_FsckRepairs(t *testing.T) {
	dir := t.TempDir()
	type line struct {
		Invariant, Detail, Digest string
		Repositories              []string
		Summary                   *struct {
			Server                            bool
			Objects, Bytes, Damaged, Findings int64
		}
	}
	repair := func(code int, server bool, damaged []string, flags ...string) {
		t.Helper()
		got, out, errs := berth(t, nil, append([]string{"fsck", "--repair", "-o", "json", "--data-dir", dir}, flags...)...)
		if got != code {
			t.Fatalf("exit code %d, want %d\n%s%s", got, code, out, errs)
		}
		var found []string
		for text := range strings.Lines(out) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if l.Summary != nil {
				if s := *l.Summary; s.Server != server || s.Objects != 3 || s.Damaged != int64(len(damaged)) || s.Findings != int64(len(damaged)) {
					t.Errorf("%s", out)
				}
				continue
			}
			if l.Invariant != "I1" || !slices.Equal(l.Repositories, []string{"tenants/default/registries/main/repositories/team/app"}) {
				t.Errorf("%+v", l)
			}
			found = append(found, l.Digest)
		}
		for _, content := range damaged {
			if !slices.Contains(found, oci.DigestOf(oci.SHA256, []byte(content)).String()) {
				t.Errorf("%q is not named in\n%s", content, out)
			}
		}
	}
	servingBoth(t, dir, func(addr, admin string) {
		for _, content := range []string{"one", "two", "three"} {
			pushLayer(t, addr, content)
		}
		beside := "--admin-addr=" + admin
		repair(exitOK, true, nil, beside)
		damage(t, dir, "one", false)
		damage(t, dir, "two", true)
		repair(exitFailure, true, []string{"one", "two"}, beside)
		pushLayer(t, addr, "one")
		pushLayer(t, addr, "two")
		repair(exitOK, true, nil, beside)
		damage(t, dir, "three", false)
	})
	const nowhere = "--admin-addr=127.0.0.1:1"
	repair(exitFailure, false, []string{"three"}, nowhere)
	serving(t, dir, func(addr string) { pushLayer(t, addr, "three") })
	code, out, errs := berth(t, nil, "fsck", "--repair", "--data-dir", dir, nowhere)
	if code != exitOK || !strings.Contains(out, "scrubbed by this process") || !strings.Contains(out, "no problems found") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
