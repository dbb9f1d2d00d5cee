package credential

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/faketime"
)

// script is an executable file that runs these lines of the shell.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker-credential-test")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func at(host string) Registry { return Registry{URL: &url.URL{Scheme: "https", Host: host}} }

// TestT57_AProgram has little of this process, and says who it is for.
func TestT57_AProgram(t *testing.T) {
	t.Setenv("BERTH_SECRET_KEY", "not for programs")
	t.Setenv("PASSED_ON", "value")
	d := Declaration{Kind: Exec, Env: []string{"PASSED_ON", "OWN=1"}, Command: []string{script(t, `read host
printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}' "$1-$host" "$PASSED_ON-$OWN-$BERTH_SECRET_KEY"`)}}
	for host, want := range map[string]string{"a.example:5000": "get-a.example:5000", "registry-1.docker.io": "get-https://index.docker.io/v1/"} {
		c, err := newProgram(d).obtain(t.Context(), at(host))
		if err != nil || c.Username != want || c.Secret != "value-1-" {
			t.Errorf("%s: %q with %q, %v", host, c.Username, c.Secret, err)
		}
	}
}

// TestT57_AProgramIsBounded in time, output and number, and its children end with it.
func TestT57_AProgramIsBounded(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "child")
	for name, c := range map[string]struct{ lines, want string }{
		"fails":            {"echo secret; echo secret >&2; exit 3", "exit status 3"},
		"endless output":   {"while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done", "wrote more than"},
		"does not end":     {"sleep 60 & echo $! > " + marker + "; wait", "did not end within 300ms"},
		"no JSON":          {"echo hello", "gave no JSON"},
		"an empty secret":  {`echo '{"Username":"u","Secret":""}'`, "gave no JSON"},
		"is not there":     {"", "no such file"},
		"ignores its turn": {"trap '' TERM INT; while :; do :; done", "did not end within 300ms"},
	} {
		d := Declaration{Kind: Exec, Timeout: 300 * time.Millisecond, Command: []string{script(t, c.lines)}}
		if name == "is not there" {
			d.Command = []string{"/nonexistent/helper"}
		}
		_, err := newProgram(d).obtain(t.Context(), at("a.example"))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	pid, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	await.True(t, 10*time.Second, "the child of the program ends", func() bool {
		state, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// TestT57_FewProgramsAtOnce, however many registries there are.
func TestT57_FewProgramsAtOnce(t *testing.T) {
	dir := t.TempDir()
	p := newProgram(Declaration{Kind: Exec, Timeout: 20 * time.Second, Command: []string{script(t, fmt.Sprintf(`
d=$(mktemp -d %s/XXXXXX); ls %[1]s | wc -l > "$d.seen"; [ "$(ls -d %[1]s/*/ | wc -l)" -le %d ] && r=in || r=over; rmdir "$d"
printf '{"Username":"%%s","Secret":"s"}' "$r"`, dir, atOnce))}})
	h := hold(p, time.Minute, time.Minute)
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			c, err := h.Find(t.Context(), at(fmt.Sprintf("r%d.example", i)))
			if err != nil || c.Username != "in" {
				t.Errorf("%v %v", c, err)
			}
		})
	}
	all.Wait()
}

// counted is a source that counts, and waits until it may go on.
type counted struct {
	mu    sync.Mutex
	calls int
	gate  chan struct{}
	err   error
	lasts time.Duration
}

func (*counted) key(r Registry) string { return r.URL.Host }

func (c *counted) obtain(ctx context.Context, _ Registry) (Credential, error) {
	c.mu.Lock()
	c.calls++
	n, err, lasts := c.calls, c.err, c.lasts
	c.mu.Unlock()
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return Credential{}, ctx.Err()
		}
	}
	found := Credential{Username: "u", Secret: fmt.Sprint(n)}
	if lasts > 0 {
		found.Expires = time.Unix(1_800_000_000, 0).Add(lasts)
	}
	return found, err
}

// TestT57_OneRequestForAll who wait, also if the first of them leaves.
func TestT57_OneRequestForAll(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		s := &counted{gate: make(chan struct{})}
		h := hold(s, time.Minute, time.Minute)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := h.Find(ctx, at("a.example")); left <- err }()
		synctest.Wait()
		leave()
		if err := <-left; err == nil {
			t.Error("the caller that left got a credential")
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if c, err := h.Find(t.Context(), at("a.example")); err != nil || c.Secret != "1" {
					t.Errorf("%q, %v", c.Secret, err)
				}
			})
		}
		synctest.Wait() // all of them wait for the first request
		close(s.gate)
		all.Wait()
		if s.calls != 1 {
			t.Errorf("%d requests", s.calls)
		}
	})
}

// TestT57_ALifetime: what is kept, and how often the source is asked.
func TestT57_ALifetime(t *testing.T) {
	s := &counted{}
	h := hold(s, 5*time.Minute, time.Minute)
	now := time.Unix(1_800_000_000, 0)
	h.now = func() time.Time { return now }
	want := func(calls int, what string) Credential {
		t.Helper()
		c, _ := h.Find(t.Context(), at("a.example"))
		if s.calls != calls {
			t.Errorf("%s: %d requests, want %d", what, s.calls, calls)
		}
		return c
	}
	want(1, "first")
	now = now.Add(4 * time.Minute)
	first := want(1, "within its life")
	now = now.Add(time.Minute)
	second := want(2, "after its life")
	h.Forget(at("a.example"), first)
	want(2, "an older one was refused")
	h.Forget(at("a.example"), second)
	third := want(3, "it was refused")
	h.Forget(at("a.example"), third)
	want(3, "refused within a minute")
	now = now.Add(time.Minute)
	h.Forget(at("a.example"), third)
	s.err = fmt.Errorf("down")
	want(4, "refused later")
	want(4, "a failure")
	now = now.Add(failureLife)
	s.err, s.lasts = nil, now.Sub(time.Unix(1_800_000_000, 0))+10*time.Minute
	want(5, "after a failure")
	now = now.Add(9*time.Minute - time.Second)
	want(5, "before it expires")
	now = now.Add(2 * time.Second)
	want(6, "a minute before it expires")
}
