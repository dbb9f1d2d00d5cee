package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// cutter passes connections on to a server, and cuts one of them when it is
// told to: at the n-th message of clients from then on.
type cutter struct {
	server string
	at     net.Listener

	mu      sync.Mutex
	left    int
	deliver bool
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{server: server, at: at}
	t.Cleanup(func() { _ = at.Close() })
	go func() {
		for {
			client, err := at.Accept()
			if err != nil {
				return
			}
			go c.pass(client)
		}
	}()
	return c
}

// cutAt arms the cutter. With deliver, the server gets the message, and only
// its answer is lost.
func (c *cutter) cutAt(n int, deliver bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.deliver = n, deliver
}

// disarm says whether it had cut.
func (c *cutter) disarm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := c.left == 0
	c.left = 0
	return cut
}

// message counts one message of a client, and says whether to cut there, and
// whether to deliver it before.
func (c *cutter) message() (bool, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return false, false
	}
	c.left--
	return c.left == 0, c.deliver
}

func (c *cutter) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	var lose atomic.Bool
	go func() {
		defer client.Close()
		defer server.Close()
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			if err != nil || lose.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			_ = server.Close()
			return
		}
		cut, deliver := c.message()
		if cut && !deliver {
			_ = server.Close()
			return
		}
		lose.Store(cut)
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// through is the URL of the same database by way of the cutter.
func (c *cutter) through(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = c.at.Addr().String()
	return u.String()
}

// TestR23_AnswersLostAtEveryMessage cuts the connection at each message of each
// kind of write, before and after the server had it. The write succeeds
// anyway, and takes effect once.
func TestR23_AnswersLostAtEveryMessage(t *testing.T) {
	direct, first := filled(t, Options{})
	u, err := url.Parse(direct.opts.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newCutter(t, u.Host)
	s := open(t, Options{URL: c.through(t, direct.opts.URL)})
	ctx := t.Context()
	cause := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }
	staged := func(r meta.Repo, content string) meta.Upload {
		t.Helper()
		u, err := direct.CreateUpload(ctx, r, oci.SHA256)
		if err == nil {
			u, err = direct.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content))})
		}
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, prepare := range map[string]func(r meta.Repo) func() error{
		"tenant.create": func(r meta.Repo) func() error {
			by, slug := cause(), "t"+digestHex(r.Name)
			return func() error {
				_, err := s.CreateTenant(ctx, by, meta.Tenant{Slug: slug}, tenant.Settings{})
				return err
			}
		},
		"registry.create": func(r meta.Repo) func() error {
			by, slug := cause(), "r"+digestHex(r.Name)
			return func() error {
				_, err := s.CreateRegistry(ctx, by, meta.Registry{Tenant: r.Tenant, Slug: slug})
				return err
			}
		},
		"upload.create": func(r meta.Repo) func() error {
			return func() error {
				u, err := s.CreateUpload(ctx, r, oci.SHA256)
				if err == nil {
					_, err = direct.FindUpload(ctx, r, u.ID)
				}
				return err
			}
		},
		"upload.take": func(r meta.Repo) func() error {
			u := staged(r, "12345")
			return func() error {
				_, err := s.TakeUpload(ctx, r, u.ID, 5)
				return err
			}
		},
		"upload.advance": func(r meta.Repo) func() error {
			u := staged(r, "12345")
			return func() error {
				_, err := s.AdvanceUpload(ctx, u, blob.Progress{Offset: 7})
				return err
			}
		},
		"upload.advance with parts": func(r meta.Repo) func() error {
			u, tail := staged(r, "12345"), uuid.New()
			if err := direct.IntendTail(ctx, u, tail); err != nil {
				t.Fatal(err)
			}
			return func() error {
				_, err := s.AdvanceUpload(ctx, u, blob.Progress{
					Offset: 16, Parts: []blob.Part{{Number: 1, Size: 15, ETag: "e"}}, Tail: blob.Tail{Incarnation: tail, Size: 1},
				})
				return err
			}
		},
		"upload.seal": func(r meta.Repo) func() error {
			u := staged(r, "12345")
			return func() error {
				_, err := s.SealUpload(ctx, u, oci.DigestOf(oci.SHA256, []byte("12345")))
				return err
			}
		},
		"upload.cancel": func(r meta.Repo) func() error {
			u := staged(r, "12345")
			return func() error { return s.CancelUpload(ctx, r, u.ID) }
		},
		"blob.push": func(r meta.Repo) func() error {
			u, err := direct.SealUpload(ctx, staged(r, r.Name), oci.DigestOf(oci.SHA256, []byte(r.Name)))
			if err != nil {
				t.Fatal(err)
			}
			by := cause()
			return func() error {
				_, err := s.CommitUpload(ctx, by, u, false)
				return err
			}
		},
		"blob.mount": func(r meta.Repo) func() error {
			from := r
			from.Name += "/from"
			b, by := pushBlob(t, direct, from, from.Name), cause()
			return func() error {
				_, err := s.MountBlob(ctx, by, from, r, b.Digest)
				return err
			}
		},
		"blob.delete": func(r meta.Repo) func() error {
			b, by := pushBlob(t, direct, r, r.Name), cause()
			return func() error { return s.DeleteBlob(ctx, by, r, b.Digest) }
		},
		"manifest.put": func(r meta.Repo) func() error {
			pushBlob(t, direct, r, "config")
			put := imagePut(r, "config", "v1", "v2")
			return func() error { return s.PutManifest(ctx, put) }
		},
		"manifest.delete": func(r meta.Repo) func() error {
			pushBlob(t, direct, r, "config")
			d, by := putImage(t, direct, r, "config", "v1"), cause()
			return func() error {
				return s.DeleteManifest(ctx, meta.ManifestDelete{Repo: r, Digest: d, By: by, Referrers: true})
			}
		},
		"digest.purge": func(r meta.Repo) func() error {
			pushBlob(t, direct, r, r.Name)
			putImage(t, direct, r, r.Name, "v1")
			p := meta.DigestPurge{Tenant: r.Tenant, Digest: oci.DigestOf(oci.SHA256, []byte(r.Name)), Force: true, By: cause()}
			return func() error {
				state, err := s.PurgeDigest(ctx, p)
				if err == nil && (state.Present || state.Running || state.Objects != 1) {
					err = fmt.Errorf("purged: %+v", state)
				}
				return err
			}
		},
		"tag.delete": func(r meta.Repo) func() error {
			pushBlob(t, direct, r, "config")
			putImage(t, direct, r, "config", "v1")
			by := cause()
			return func() error { return s.DeleteTag(ctx, by, r, "v1") }
		},
		"repository.delete": func(r meta.Repo) func() error {
			pushBlob(t, direct, r, "config")
			by := cause()
			return func() error { return s.DeleteRepository(ctx, by, r) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			logs := 1
			if name == "tenant.create" || name == "digest.purge" { // the tenant's log, and the operators'; and the manifest
				logs = 2
			}
			for _, deliver := range []bool{false, true} {
				cuts := 0
				for at := 1; ; at++ {
					r := first
					r.Name = fmt.Sprintf("%x/%t/%d", name, deliver, at)
					write := prepare(r)
					events := countEvents(t, direct)
					c.cutAt(at, deliver)
					err := write()
					cut := c.disarm()
					if err != nil {
						t.Errorf("cut at message %d, delivered %t: %v", at, deliver, err)
					}
					if n := countEvents(t, direct) - events; n > logs {
						t.Errorf("cut at message %d, delivered %t: %d events", at, deliver, n)
					}
					if !cut {
						break
					}
					cuts++
				}
				if cuts == 0 {
					t.Error("nothing was cut")
				}
			}
			if found := findings(t, direct); len(found) != 0 {
				t.Errorf("findings: %q", found)
			}
		})
	}
}

func digestHex(s string) string { return oci.DigestOf(oci.SHA256, []byte(s)).Hex()[:12] }

func countEvents(t *testing.T, s *Store) int {
	t.Helper()
	var n int
	if _, err := s.find(t.Context(), noTenant, `SELECT count(*) FROM events`, nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// otherSession is another session that holds locks.
type otherSession struct{ *pgx.Conn }

func (h otherSession) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := h.Exec(context.Background(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// waitBlocked returns once n sessions wait for a lock in the session's database.
func (h otherSession) waitBlocked(t *testing.T, n int) {
	t.Helper()
	for blocked := 0; blocked < n; {
		h.exec(t, `SELECT pg_stat_clear_snapshot()`) // which is kept as long as a transaction
		err := h.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sealed is a session of s ready to be committed.
func sealed(t testing.TB, s *Store, r meta.Repo, content string) meta.Upload {
	t.Helper()
	u, err := s.CreateUpload(t.Context(), r, oci.SHA256)
	if err == nil {
		u, err = s.AdvanceUpload(t.Context(), u, blob.Progress{Offset: int64(len(content))})
	}
	if err == nil {
		u, err = s.SealUpload(t.Context(), u, oci.DigestOf(oci.SHA256, []byte(content)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestR24_LockTimeoutsAreRetriedThenUnavailable(t *testing.T) {
	s, r := filled(t, Options{URL: migrated(t) + "&lock_timeout=50ms"})
	u := sealed(t, s, r, "content")
	other := otherSession{connect(t, s.opts.URL)}
	other.exec(t, `BEGIN`)
	other.exec(t, `SELECT 1 FROM usage FOR UPDATE`)
	_, err := s.CommitUpload(t.Context(), meta.Cause{Op: uuid.New()}, u, false)
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("while the row is held: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := s.CommitUpload(context.Background(), meta.Cause{Op: uuid.New()}, u, false)
		done <- err
	}()
	other.waitBlocked(t, 1)
	other.exec(t, `COMMIT`)
	if err := <-done; err != nil {
		t.Errorf("the row was given free: %v", err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}

func TestR24_DeadlocksAreRetried(t *testing.T) {
	at := migrated(t)
	t.Cleanup(func() { wantDeadlocks(t, at, 1) })
	s, r := filled(t, Options{URL: at + "&deadlock_timeout=1s"})
	u := sealed(t, s, r, "content")
	other := otherSession{connect(t, s.opts.URL)}
	other.exec(t, `SET deadlock_timeout = '1min'`)
	other.exec(t, `SET lock_timeout = 0`)
	other.exec(t, `BEGIN`)
	other.exec(t, `SELECT 1 FROM usage FOR UPDATE`)
	done := make(chan error)
	go func() {
		_, err := s.CommitUpload(context.Background(), meta.Cause{Op: uuid.New()}, u, false)
		done <- err
	}()
	other.waitBlocked(t, 1)
	// Against the lock order: the other way round.
	other.exec(t, `SELECT 1 FROM uploads WHERE id = $1 FOR UPDATE`, pgUUID(u.ID))
	other.exec(t, `COMMIT`)
	if err := <-done; err != nil {
		t.Errorf("the victim of a deadlock: %v", err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}

// TestR20_BackendsDieUnderLoad ends all of the store's connections again and
// again while others push through it.
func TestR20_BackendsDieUnderLoad(t *testing.T) {
	s, r := filled(t, Options{})
	other := otherSession{connect(t, s.opts.URL)}
	stop := make(chan struct{})
	var pushers sync.WaitGroup
	var pushed, unavailable atomic.Int64
	for i := range 6 {
		pushers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				err := tryPushImage(s, r, fmt.Sprintf("%d/%d", i, n))
				switch {
				case err == nil:
					pushed.Add(1)
				case fault.KindOf(err) == fault.Unavailable:
					unavailable.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	for kills := 0; kills < 20; kills++ {
		goal := pushed.Load() + 3
		await.True(t, time.Minute, "pushes are acknowledged", func() bool { return pushed.Load() >= goal || t.Failed() })
		other.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	}
	close(stop)
	pushers.Wait()
	var images int64
	if _, err := s.find(t.Context(), noTenant, `SELECT count(*) FROM tags WHERE manifest IS NOT NULL`, nil, &images); err != nil || images < pushed.Load()+1 {
		t.Errorf("%d images of %d that were acknowledged, %v", images, pushed.Load()+1, err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
	t.Logf("%d pushed, %d told to come again", pushed.Load(), unavailable.Load())
}

// tryPushImage pushes a blob and an image of it under a tag of its own.
func tryPushImage(s *Store, r meta.Repo, content string) error {
	ctx := context.Background()
	u, err := s.CreateUpload(ctx, r, oci.SHA256)
	if err == nil {
		u, err = s.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content))})
		if errors.Is(err, blob.ErrFenced) {
			return fmt.Errorf("a false refusal: %s", err.Error())
		}
	}
	if err == nil {
		u, err = s.SealUpload(ctx, u, oci.DigestOf(oci.SHA256, []byte(content)))
	}
	if err == nil {
		_, err = s.CommitUpload(ctx, meta.Cause{Op: uuid.New()}, u, false)
	}
	if err == nil {
		err = s.PutManifest(ctx, imagePut(r, content, "t"+digestHex(content)))
	}
	return err
}
