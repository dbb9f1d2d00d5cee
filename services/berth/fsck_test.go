package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
)

// TestP50_FsckNamesRepositories loses the bytes of a blob, and reads what fsck
// says as a program and as a person does.
func TestP50_FsckNamesRepositories(t *testing.T) {
	dir := t.TempDir()
	d := oci.DigestOf(oci.SHA256, []byte("layer"))
	serving(t, dir, func(addr string) {
		target := fmt.Sprintf("http://%s/v2/team/app/blobs/uploads/?digest=%s", addr, d)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("layer"))
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
	})
	type line struct {
		Invariant, Detail, Tenant, Digest, Object string
		Repositories                              []string
		Summary                                   *struct{ Objects, Bytes, Stored, Findings int64 }
	}
	read := func(want int) []line {
		t.Helper()
		code, out, errs := berth(t, nil, "fsck", "-o", "json", "--data-dir", dir)
		if code != want {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		var lines []line
		for text := range strings.Lines(out) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			lines = append(lines, l)
		}
		if last := lines[len(lines)-1].Summary; last == nil || last.Objects != 1 || last.Bytes != 5 || last.Findings != int64(len(lines)-1) {
			t.Fatalf("the summary is not last, or not right:\n%s", out)
		}
		return lines[:len(lines)-1]
	}
	code, out, _ := berth(t, nil, "fsck", "-o", "json", "--data-dir", t.TempDir())
	var said struct{ Error string }
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != exitUnfinished || said.Error == "" {
		t.Errorf("of an empty directory: exit code %d, %q, %v", code, out, err)
	}
	if found := read(exitOK); len(found) > 0 {
		t.Fatalf("findings in what is whole: %+v", found)
	}
	lost, err := filepath.Glob(filepath.Join(dir, "blobs", "o", "*", "*"))
	if err != nil || len(lost) == 0 {
		t.Fatalf("no objects: %v", err)
	}
	for _, path := range lost {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	const app = "tenants/default/registries/main/repositories/team/app"
	found := read(exitFailure)
	if len(found) != 1 || found[0].Invariant != "I1" || found[0].Tenant != "default" || found[0].Digest != d.String() ||
		!slices.Equal(found[0].Repositories, []string{app}) || !strings.HasPrefix(found[0].Object, "o/") {
		t.Errorf("%+v", found)
	}
	if _, out, _ := berth(t, nil, "fsck", "--data-dir", dir); !strings.Contains(out, "is missing ("+app+")") {
		t.Errorf("the table does not name the repository:\n%s", out)
	}
}

// serving runs a server on a directory while do uses its data port.
func serving(t *testing.T, dir string, do func(addr string)) {
	t.Helper()
	servingBoth(t, dir, func(data, _ string) { do(data) })
}

// servingBoth is serving with more flags, for the data port and the port of the admin API.
func servingBoth(t *testing.T, dir string, do func(data, admin string), flags ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		args := []string{"serve", "--data-dir", dir, "--data-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--admin-grpc-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0"}
		done <- run(ctx, append(args, flags...), nil, nil, io.Discard, w)
		w.Close()
	}()
	var said struct {
		Msg   string `json:"msg"`
		Addr  string `json:"data_addr"`
		Admin string `json:"admin_addr"`
	}
	lines := bufio.NewScanner(r)
	for said.Msg != "serving" && lines.Scan() {
		_ = json.Unmarshal(lines.Bytes(), &said) // other lines are not asked for
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if said.Addr == "" {
		t.Fatal("it does not serve")
	}
	do(said.Addr, said.Admin)
	stop()
	if code := <-done; code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}
}
