package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-registry/berth/tools/internal/port"
)

// The account of the server. It guards nothing: the server listens on loopback
// and lives as long as the test process.
const (
	s3Access = "berth"
	s3Secret = "berth-tests"
)

// S3 returns the URL of an empty bucket, in the form of the setting blobs. The
// bucket goes with the test. The server, versitygw, is started once per test
// process and killed with it; its credentials are set in the environment.
func S3(t testing.TB) string {
	t.Helper()
	server, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	address, dir, err := server.bucket()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return address
}

// bucket makes an empty bucket, and returns its URL and its directory.
func (s s3) bucket() (string, string, error) {
	bucket := "b-" + strings.ToLower(rand.Text())
	dir := filepath.Join(s.dir, "data", bucket)
	return fmt.Sprintf("s3://%s?endpoint=http://%s&region=us-east-1&path_style=true", bucket, s.address), dir, os.Mkdir(dir, 0o750)
}

type s3 struct {
	address string
	dir     string
}

var s3Server = sync.OnceValues(startS3)

func startS3() (s3, error) {
	program, err := findProgram("versitygw")
	if err != nil {
		return s3{}, err
	}
	var who account
	dir, err := who.directory("berth-s3")
	if err != nil {
		return s3{}, err
	}
	atStop(func() error { return os.RemoveAll(dir) })
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "sidecar")
	if err := errors.Join(os.Mkdir(data, 0o750), os.Mkdir(sidecar, 0o750)); err != nil {
		return s3{}, err
	}
	addrs, err := port.Free(1)
	if err != nil {
		return s3{}, err
	}
	s := s3{address: addrs[0], dir: dir}
	cmd := who.command(dir, syscall.SIGKILL, program, "--port", s.address, "--keep-alive", "--quiet", "posix", "--sidecar", sidecar, data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Access, "ROOT_SECRET_KEY="+s3Secret)
	if err := errors.Join(os.Setenv("AWS_ACCESS_KEY_ID", s3Access), os.Setenv("AWS_SECRET_ACCESS_KEY", s3Secret)); err != nil {
		return s3{}, err
	}
	server, err := startAnswering(cmd, s.answers)
	if err != nil {
		return s3{}, err
	}
	atStop(func() error { return server.stop(syscall.SIGKILL) })
	return s, nil
}

// answers says whether the server answers, in whatever way.
func (s s3) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	return err == nil && resp.Body.Close() == nil
}

// findProgram finds a server on the PATH, or where tools/install puts it.
func findProgram(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	if cache, err := os.UserCacheDir(); err == nil {
		if p, err := exec.LookPath(filepath.Join(cache, "berth-tools", "bin", name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is missing: run tools/install %s", name, name)
}
