// Package server runs a Berth process for the programs under tools: it starts
// it, kills it, starts it again on the same ports, and reads its memory.
package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/internal/gate"
	"github.com/berth-registry/berth/tools/internal/port"
)

// Server is a Berth process and the directory it keeps its data in. Its
// addresses stay the same over all its lives. Methods other than Ready, Call,
// PID and Process are for one goroutine.
type Server struct {
	Data      string      // host:port of the data listener
	Admin     string      // host:port of the admin API over REST
	Ops       string      // host:port of the ops listener
	AdminGRPC string      // of the admin API over gRPC
	Internal  string      // of the listener for other processes, where there is one
	Log       string      // file that all lives of the process write to
	Keeper    gate.Keeper // of the gate that the next lives run behind; nil is none
	Files     int         // descriptors that the next lives may have; 0 is as many as the caller

	binary string
	dir    string
	env    []string

	mu      sync.Mutex
	process *Process
	log     *os.File
}

// ErrEnded is the error of a Start whose process ended before it was ready.
var ErrEnded = errors.New("the server ended before it was ready")

// New chooses free loopback ports; nothing runs yet. The data directory is
// made below dir. The process has the caller's environment except for settings of
// Berth; its own are the given ones ("BERTH_META=…").
func New(binary, dir string, settings ...string) (*Server, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	addrs, err := port.Free(5)
	if err != nil {
		return nil, err
	}
	return &Server{
		Data: addrs[0], Admin: addrs[2], Log: filepath.Join(dir, "berth.log"),
		AdminGRPC: addrs[3], Internal: addrs[4], Ops: addrs[1], binary: binary, dir: dir,
		env: append(append(environ(),
			"BERTH_DATA_DIR="+filepath.Join(dir, "data"), "BERTH_DATA_ADDR="+addrs[0], "BERTH_OPS_ADDR="+addrs[1],
			"BERTH_ADMIN_ADDR="+addrs[2], "BERTH_ADMIN_GRPC_ADDR="+addrs[3], "BERTH_INTERNAL_ADDR="+addrs[4],
			"BERTH_LOG_LEVEL=warn"), settings...),
	}, nil
}

// environ is the caller's environment without variables that are for Berth, or
// for its tests.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BERTH_") })
}

// Start runs the process and waits until it is ready; ErrEnded when it ended
// before.
func (s *Server) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.binary, "serve")
	if s.Files > 0 {
		cmd = exec.Command("prlimit", fmt.Sprintf("--nofile=%d:%d", s.Files, s.Files), s.binary, "serve")
	}
	cmd.Env, cmd.Stderr, cmd.Dir = s.env, log, s.dir // its greeting is for people
	// Callers that ask for the present life see this one as soon as it acts.
	s.mu.Lock()
	process, err := Begin(cmd, s.Keeper)
	if err == nil {
		s.process, s.log = process, log
	}
	s.mu.Unlock()
	if err != nil {
		return errors.Join(err, log.Close())
	}

	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ready := false
	err = await.Within(ctx, 30*time.Second, "the server is ready", func() bool {
		ready = s.Ready(ctx)
		return ready || process.HasEnded()
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w; end of its log:\n%s", err, s.LogTail())
	case !ready:
		return errors.Join(ErrEnded, process.Wait(), log.Close())
	default:
		return nil
	}
}

// Ready asks the server whether it serves. Safe for concurrent use.
func (s *Server) Ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Ops+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

// Account makes a service account of the tenant default that may do everything
// and returns its secret.
func (s *Server) Account(ctx context.Context, id string) (string, error) {
	token, err := os.ReadFile(filepath.Join(s.dir, "data", "operator-token"))
	if err != nil {
		return "", err
	}
	return s.AccountOf(ctx, strings.TrimSpace(string(token)), "default", id)
}

// AccountOf is Account for any tenant and a known operator token.
func (s *Server) AccountOf(ctx context.Context, operatorToken, tenant, id string) (string, error) {
	var key struct {
		Secret string `json:"secret"`
	}
	for _, step := range []struct{ path, body string }{
		{"?service_account_id=" + id, `{"role": "ADMIN"}`},
		{"/" + id + "/keys", `{}`},
	} {
		if err := s.Call(ctx, operatorToken, http.MethodPost, "/v1/tenants/"+tenant+"/serviceAccounts"+step.path, step.body, &key); err != nil {
			return "", err
		}
	}
	return key.Secret, nil
}

// Call asks the admin API and decodes its answer into answer.
func (s *Server) Call(ctx context.Context, operatorToken, method, path, body string, answer any) error {
	target := "http://" + s.Admin + path
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: status %d: %s", method, target, res.StatusCode, said)
	}
	return json.Unmarshal(said, answer)
}

// PID is the process id of the present life.
func (s *Server) PID() int { return s.Process().PID() }

// Process is the present life, or the last.
func (s *Server) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Kill ends the process without warning (SIGKILL), or notes that something
// else did.
func (s *Server) Kill() error { return errors.Join(s.process.Kill(), s.log.Close()) }

// Stop ends the process in order (SIGTERM); an exit code other than 0 is an
// error.
func (s *Server) Stop() error {
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return errors.Join(s.process.Wait(), s.log.Close())
}

// Run runs another command of the binary, such as fsck, on the server's data.
// Its output is returned in any case.
func (s *Server) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("berth %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// PeakMemory is the largest resident size the process has had, in bytes.
func (s *Server) PeakMemory() (int64, error) {
	const key = "VmHWM:"
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/%d/status", key, s.PID())
}

// LogTail is the end of the log, for a message.
func (s *Server) LogTail() string {
	const most = 4 << 10
	log, err := os.ReadFile(s.Log)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}
