package pgmeta

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestManyNodesStartAtOnce(t *testing.T) {
	url := testserver.Postgres(t)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			s, err := Open(t.Context(), Options{URL: url})
			if err == nil {
				err = s.Close()
			}
			errs[i] = err
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	url := migrated(t)
	c := connect(t, url)
	if _, err := c.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{URL: url})
	if err == nil || !strings.Contains(err.Error(), "version 9999, newer than this program's") {
		t.Fatalf("Open of a newer schema: %v", err)
	}
}

func TestOpenRefusesWhatMayLosePushes(t *testing.T) {
	_, err := Open(t.Context(), Options{URL: migrated(t) + "&synchronous_commit=off"})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit = off") {
		t.Fatalf("Open with synchronous_commit = off: %v", err)
	}
}

func TestR18_OpenSaysThatNobodyIsThere(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://berth:hunter2@127.0.0.1:1/berth?sslmode=disable": "refused",
		"postgres://berth:hunter2@127.0.0.1:port/berth":              "the URL of the metadata store",
	} {
		began := time.Now()
		_, err := Open(t.Context(), Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open: %v; want %q", err, want)
		}
		if took := time.Since(began); took > connectTime+time.Second {
			t.Errorf("it took %s", took)
		}
	}
}

func TestSettingsOfASession(t *testing.T) {
	s := open(t, Options{})
	for name, want := range map[string]string{
		"lock_timeout": "2s", "idle_in_transaction_session_timeout": "5s", "transaction_isolation": "read committed",
		"application_name": "berth", "TimeZone": "UTC",
	} {
		var got string
		if _, err := s.find(t.Context(), `SELECT current_setting($1)`, []any{name}, &got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	s := open(t, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err := s.write(t.Context(), func(*tx) error { return nil })
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("write: %v", err)
	}
	if err := s.Ping(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Ping: %v", err)
	}
}

func TestCancelledBeforeItStarted(t *testing.T) {
	s := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.write(ctx, func(*tx) error {
		t.Error("it ran")
		return nil
	})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("write: %v", err)
	}
}
