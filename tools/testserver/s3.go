package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The account of the server. It guards nothing: the server listens on loopback
// and lives as long as the test process.
const (
	s3Access = "berth"
	s3Secret = "berth-tests"
)

// s3Dirs is the pattern of the servers' directories, one for each process.
const s3Dirs = "berth-test-s3-"

// S3 returns the URL of an empty bucket, in the form of the setting blobs. The
// bucket goes with the test. The server, versitygw, is started once per test
// process and killed with it; its credentials are set in the environment.
func S3(t testing.TB) string {
	t.Helper()
	server, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	bucket := "b-" + strings.ToLower(rand.Text())
	dir := filepath.Join(server.dir, "data", bucket)
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("s3://%s?endpoint=http://%s&region=us-east-1&path_style=true", bucket, server.address)
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
	if err := sweepS3Dirs(); err != nil {
		return s3{}, err
	}
	s := s3{dir: filepath.Join(os.TempDir(), s3Dirs+strconv.Itoa(os.Getpid()))}
	data, sidecar := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "sidecar")
	if err := errors.Join(os.MkdirAll(data, 0o750), os.MkdirAll(sidecar, 0o750)); err != nil {
		return s, err
	}
	port, err := freePort()
	if err != nil {
		return s, err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	cmd := exec.Command(program, "--port", s.address, "--keep-alive", "--quiet", "posix", "--sidecar", sidecar, data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Access, "ROOT_SECRET_KEY="+s3Secret)
	if err := errors.Join(os.Setenv("AWS_ACCESS_KEY_ID", s3Access), os.Setenv("AWS_SECRET_ACCESS_KEY", s3Secret)); err != nil {
		return s, err
	}
	ended, err := startWithProcess(cmd)
	if err != nil {
		return s, fmt.Errorf("cannot start %s: %w", program, err)
	}
	return s, s.waitUntilReady(ended)
}

// waitUntilReady asks until the server answers, in whatever way.
func (s s3) waitUntilReady(ended <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the S3 server ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the S3 server at %s did not answer in time", s.address)
		case <-tick.C:
		}
	}
}

// startWithProcess starts a server that the kernel kills when this process
// ends, however it does. The signal belongs to the thread that started the
// server, so that thread stays.
func startWithProcess(cmd *exec.Cmd) (<-chan error, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

// sweepS3Dirs removes what servers of processes that are gone left behind.
func sweepS3Dirs() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), s3Dirs+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), s3Dirs))
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
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
