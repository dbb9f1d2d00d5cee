package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// atOnce is how many programs of a helper run at a time.
const atOnce = 2

// program runs a credential helper of Docker: the registry on its standard input, and
// JSON with Username and Secret on its output.
type program struct {
	Declaration
	slots chan struct{}
}

func newProgram(d Declaration) program {
	return program{Declaration: d, slots: make(chan struct{}, atOnce)}
}

func (program) key(r Registry) string { return serverName(r.URL) }

// obtainTimeout bounds obtaining a credential, with the wait for a slot.
func (d Declaration) obtainTimeout() time.Duration {
	if d.Kind == Exec {
		return 2 * d.runTimeout()
	}
	return defaultTimeout
}

func (d Declaration) runTimeout() time.Duration {
	if d.Timeout == 0 {
		return execTimeout
	}
	return d.Timeout
}

func (p program) obtain(ctx context.Context, r Registry) (Credential, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Credential{}, fmt.Errorf("%s: too many runs at once", p.Command[0])
	}
	ctx, cancel := context.WithTimeout(ctx, p.runTimeout())
	defer cancel()
	out := &limitedWriter{left: maxReply}
	cmd := exec.CommandContext(ctx, p.Command[0], append(p.Command[1:len(p.Command):len(p.Command)], "get")...)
	cmd.Stdin, cmd.Stdout = strings.NewReader(serverName(r.URL)+"\n"), out
	cmd.Dir, cmd.Env = "/", p.environment()
	// The program's children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = end, time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		_ = end() // those that are left, if any
	}
	switch {
	case out.over:
		return Credential{}, fmt.Errorf("%s wrote more than %d bytes", p.Command[0], maxReply)
	case ctx.Err() != nil:
		return Credential{}, fmt.Errorf("%s did not end within %s", p.Command[0], p.runTimeout())
	case err != nil: // its output may have a secret
		return Credential{}, fmt.Errorf("%s failed: %w", p.Command[0], err)
	}
	return parseDocker([]byte(out.text.String()), p.Command[0])
}

// environment is minimal: what Berth is configured with is not for other programs.
func (p program) environment() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LC_ALL=C"}
	for _, e := range p.Env {
		if strings.Contains(e, "=") {
			env = append(env, e)
		} else if value, ok := os.LookupEnv(e); ok {
			env = append(env, e+"="+value)
		}
	}
	return env
}

// limitedWriter fails once there are too many bytes.
type limitedWriter struct {
	text strings.Builder
	left int
	over bool
}

// Write implements io.Writer.
func (w *limitedWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		w.over = true
		return 0, errors.New("too many bytes")
	}
	return w.text.Write(b)
}

// parseDocker reads what credential helpers of Docker write; from names the origin.
func parseDocker(text []byte, from string) (Credential, error) {
	var said struct {
		Username string
		Secret   string
	}
	if json.Unmarshal(text, &said) != nil || said.Secret == "" {
		return Credential{}, fmt.Errorf("%s gave no JSON with Username and Secret", from)
	}
	return named(said.Username, said.Secret, time.Time{}), nil
}

// named is a credential for a user; "<token>" is that of a refresh token.
func named(username, secret string, expires time.Time) Credential {
	return Credential{Username: username, Secret: secret, Refresh: username == "<token>", Expires: expires}
}

// file reads a credential that another program keeps up to date: JSON as credential
// helpers of Docker write it, or the secret alone if a username is declared.
type file struct{ Declaration }

func (file) key(Registry) string { return "" }

func (f file) obtain(context.Context, Registry) (Credential, error) {
	text, err := readFile(f.Path)
	switch {
	case err != nil:
		return Credential{}, err
	case f.Username == "":
		return parseDocker(text, f.Path)
	default:
		return named(f.Username, strings.TrimSpace(string(text)), time.Time{}), nil
	}
}

// readReply reads to the end, and fails if there is too much.
func readReply(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxReply+1))
	if err == nil && len(text) > maxReply {
		err = fmt.Errorf("more than %d bytes", maxReply)
	}
	return text, err
}
