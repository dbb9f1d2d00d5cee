package fsblob

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
)

// slowClient gives some bytes and then nothing, until it is interrupted: its
// read then fails as that of a client that was too slow.
type slowClient struct {
	some        []byte
	interrupted chan struct{}
	once        sync.Once
}

func (c *slowClient) Read(p []byte) (int, error) {
	if len(c.some) > 0 {
		n := copy(p, c.some)
		c.some = c.some[n:]
		return n, nil
	}
	<-c.interrupted
	return 0, fault.Wrap(os.ErrDeadlineExceeded, fault.Invalid, fault.RequestInvalid, "too slow")
}

func (c *slowClient) Mark() ([]byte, error) { return nil, nil }
func (c *slowClient) Interrupt()            { c.once.Do(func() { close(c.interrupted) }) }

// A disk that fails while a client is being waited for is an outage, not the
// client's fault.
func TestR35_FailureWhileWaitingForTheClientIsAnOutage(t *testing.T) {
	s, err := Open(t.TempDir(), Options{StepBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.tree.flush = func(f *os.File) error {
		if info, err := f.Stat(); err != nil || info.IsDir() {
			return err
		}
		return errors.New("input/output error")
	}
	st := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.New()}}
	client := &slowClient{some: make([]byte, bufferSize), interrupted: make(chan struct{})}
	err = s.Append(t.Context(), st, client, nil)
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("append: %v, want unavailable", err)
	}
}
