package pgmeta

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// nodeEnv makes this test's program a node that does one thing and says what
// became of it; its value is a nodeTask.
const nodeEnv = "PGMETA_TEST_NODE"

type nodeTask struct {
	URL    string
	Do     string
	Upload meta.Upload
	Tail   uuid.UUID
}

// runNode is the program of a node: it opens the store, says so, waits for a
// line, does its task, and says how it ended.
func runNode(task string) {
	var n nodeTask
	ctx := context.Background()
	err := json.Unmarshal([]byte(task), &n)
	var s *Store
	if err == nil {
		s, err = Open(ctx, Options{URL: n.URL, MaxConns: 1})
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, "failed:", err)
		return
	}
	fmt.Fprintln(os.Stdout, "ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return
	}
	switch n.Do {
	case "take":
		_, err = s.TakeUpload(ctx, n.Upload.Repo, n.Upload.ID, n.Upload.Stage.Offset)
	case "tail":
		err = s.IntendTail(ctx, n.Upload, n.Tail)
	case "advance":
		_, err = s.AdvanceUpload(ctx, n.Upload, blob.Progress{
			Offset: 16, State: []byte("paused"), Parts: []blob.Part{{Number: 1, Size: 15, ETag: "paused"}}, Tail: blob.Tail{Incarnation: n.Tail, Size: 1},
		})
	case "seal":
		_, err = s.SealUpload(ctx, n.Upload, digestOf("paused"))
	case "commit":
		_, err = s.CommitUpload(ctx, meta.Cause{Op: uuid.New()}, n.Upload, false)
	case "unlink":
		_, err = s.UnlinkBlobs(ctx, 1)
	case "drop":
		_, err = s.DropBlobs(ctx, 1)
	}
	switch {
	case err == nil:
		fmt.Fprintln(os.Stdout, "done")
	case fault.KindOf(err) == fault.Internal:
		fmt.Fprintln(os.Stdout, "defect:", err)
	default:
		fmt.Fprintln(os.Stdout, "refused:", fault.From(err).Reason)
	}
}

// gate passes one client's messages on, and holds the n-th one after it was
// armed until it is opened.
type gate struct {
	at     net.Listener
	server string

	mu     sync.Mutex
	left   int
	held   chan struct{} // closed when the message is there
	opened chan struct{}
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Close() })
	g := &gate{at: at, server: server}
	go func() {
		for {
			client, err := at.Accept()
			if err != nil {
				return
			}
			go g.pass(client)
		}
	}()
	return g
}

// arm says when the message is held, and how to let it go; 0 holds none.
func (g *gate) arm(n int) (<-chan struct{}, func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.held, g.opened = n, make(chan struct{}), make(chan struct{})
	opened := g.opened
	return g.held, func() { close(opened) }
}

func (g *gate) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.server)
	if err != nil {
		return
	}
	go func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	}()
	defer server.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if opened := g.count(); opened != nil {
			<-opened
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (g *gate) count() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == 0 {
		return nil
	}
	if g.left--; g.left > 0 {
		return nil
	}
	close(g.held)
	return g.opened
}

// otherNode is a running runNode.
type otherNode struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.Writer
	lines chan string
}

func startNode(t *testing.T, task nodeTask) *otherNode {
	t.Helper()
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &otherNode{t: t, cmd: cmd, in: in, lines: make(chan string, 10)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n.lines <- lines.Text()
		}
		close(n.lines)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line := <-n.lines; line != "ready" {
		t.Fatalf("the node says %q", line)
	}
	return n
}

func (n *otherNode) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// TestR12_APausedNodeWritesNothingThatCounts stops a node's process at each
// message that it sends to the server while it writes, lets another node take
// over, and lets the first one continue.
func TestR12_APausedNodeWritesNothingThatCounts(t *testing.T) {
	s, first := filled(t, Options{})
	u, err := url.Parse(s.opts.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.at.Addr().String()
	through := u.String() + "&idle_in_transaction_session_timeout=250ms"
	pause := time.Duration(dice.Count(t, 0, 60)) * time.Second
	points := 0
	ctx := t.Context()
	staged := func(r meta.Repo, text string) meta.Upload {
		t.Helper()
		u, err := s.CreateUpload(ctx, r, oci.SHA256)
		if err == nil {
			u, err = s.TakeUpload(ctx, r, u.ID, 0)
		}
		if err == nil {
			u, err = s.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(text))})
		}
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	// overtake is another node's PATCH: 7 bytes more, and whether that held.
	overtake := func(u meta.Upload) func() string {
		t.Helper()
		taken, err := s.TakeUpload(ctx, u.Repo, u.ID, u.Stage.Offset)
		if err == nil {
			_, err = s.AdvanceUpload(ctx, taken, blob.Progress{Offset: taken.Stage.Offset + 7, State: []byte("overtaken")})
		}
		if err != nil {
			t.Errorf("taking over: %v", err)
		}
		return func() string {
			now, err := s.FindUpload(ctx, u.Repo, u.ID)
			if err != nil || now.State != meta.UploadOpen || now.Stage.Offset != u.Stage.Offset+7 || string(now.HashState) != "overtaken" || len(now.Stage.Parts) != 0 {
				return fmt.Sprintf("the session is %+v, %v", now, err)
			}
			return ""
		}
	}
	// cancelled is another node's DELETE of the session.
	cancelled := func(u meta.Upload, text string) func() string {
		t.Helper()
		if err := s.CancelUpload(ctx, u.Repo, u.ID); err != nil {
			t.Errorf("cancelling: %v", err)
		}
		return func() string {
			if _, err := s.FindBlob(ctx, u.Repo, digestOf(text)); !fault.Is(err, fault.BlobUnknown) {
				return fmt.Sprintf("the blob of a cancelled session: %v", err)
			}
			return ""
		}
	}
	// pushedAgain is another push of a blob that was about to be collected.
	pushedAgain := func(r meta.Repo) func() string {
		t.Helper()
		pushBlob(t, s, r, r.Name)
		putImage(t, s, r, r.Name, "v1")
		return func() string {
			if _, err := s.CheckBlob(ctx, r, digestOf(r.Name)); err != nil {
				return fmt.Sprintf("the blob that was pushed again: %v", err)
			}
			return ""
		}
	}
	overdue := func(table string, r meta.Repo) {
		mustRun(t, s, `UPDATE `+table+` SET keep_until = now() - interval '1 hour' WHERE digest = $1`, digestOf(r.Name).Bytes())
	}
	for _, do := range []struct {
		name string
		// prepare makes what the node works on; the function that it returns is the
		// other node's work, and that one's says what is wrong afterwards.
		prepare func(r meta.Repo) (nodeTask, func() func() string)
		may     string // how the node's work may end, besides in an outage
	}{
		{"tail", func(r meta.Repo) (nodeTask, func() func() string) {
			u := staged(r, "12345")
			return nodeTask{Upload: u, Tail: uuid.New()}, func() func() string { return overtake(u) }
		}, "refused: BLOB_UPLOAD_INVALID"},
		{"advance", func(r meta.Repo) (nodeTask, func() func() string) {
			u, tail := staged(r, "12345"), uuid.New()
			if err := s.IntendTail(ctx, u, tail); err != nil {
				t.Fatal(err)
			}
			return nodeTask{Upload: u, Tail: tail}, func() func() string { return overtake(u) }
		}, "refused: BLOB_UPLOAD_INVALID"},
		{"seal", func(r meta.Repo) (nodeTask, func() func() string) {
			u := staged(r, "paused")
			return nodeTask{Upload: u}, func() func() string { return overtake(u) }
		}, "refused: BLOB_UPLOAD_INVALID"},
		{"take", func(r meta.Repo) (nodeTask, func() func() string) {
			u := staged(r, "12345")
			return nodeTask{Upload: u}, func() func() string { return overtake(u) }
		}, "refused: BLOB_UPLOAD_INVALID"},
		{"commit", func(r meta.Repo) (nodeTask, func() func() string) {
			u, err := s.SealUpload(ctx, staged(r, r.Name), digestOf(r.Name))
			if err != nil {
				t.Fatal(err)
			}
			return nodeTask{Upload: u}, func() func() string { return cancelled(u, r.Name) }
		}, "refused: BLOB_UPLOAD_UNKNOWN"},
		{"unlink", func(r meta.Repo) (nodeTask, func() func() string) {
			pushBlob(t, s, r, r.Name)
			overdue("repo_blobs", r)
			return nodeTask{}, func() func() string { return pushedAgain(r) }
		}, "done"},
		{"drop", func(r meta.Repo) (nodeTask, func() func() string) {
			pushBlob(t, s, r, r.Name)
			overdue("repo_blobs", r)
			if n, err := s.UnlinkBlobs(ctx, 1); n != 1 || err != nil {
				t.Fatalf("%d unlinked, %v", n, err)
			}
			overdue("blobs", r)
			return nodeTask{}, func() func() string { return pushedAgain(r) }
		}, "done"},
	} {
		t.Run(do.name, func(t *testing.T) {
			for at := 1; ; at++ {
				r := first
				r.Name = fmt.Sprintf("%s/%d", do.name, at)
				pushBlob(t, s, r, "config")
				task, other := do.prepare(r)
				task.URL, task.Do = through, do.name
				n := startNode(t, task)
				held, open := g.arm(at)
				if _, err := io.WriteString(n.in, "go\n"); err != nil {
					t.Fatal(err)
				}
				select {
				case <-held:
				case line := <-n.lines: // it sends no more messages than that
					if line != "done" {
						t.Errorf("without a pause: %s", line)
					}
					g.arm(0)
					return
				}
				points++
				n.signal(syscall.SIGSTOP)
				wrong := other()
				<-time.After(pause)
				n.signal(syscall.SIGCONT)
				open()
				if line := <-n.lines; line != do.may && line != "refused: UNAVAILABLE" {
					t.Errorf("paused at message %d, it says %q", at, line)
				}
				if text := wrong(); text != "" {
					t.Errorf("paused at message %d: %s", at, text)
				}
				if found := findings(t, s); len(found) != 0 {
					t.Errorf("paused at message %d: %s", at, strings.Join(found, "; "))
				}
			}
		})
	}
	if t.Logf("%d points", points); points < 12 {
		t.Errorf("paused at %d points only", points)
	}
}
