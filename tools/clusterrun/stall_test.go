package clusterrun

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// stalled is a request whose body has come in part.
type stalled struct {
	body   *io.PipeWriter
	left   []byte
	answer chan answer
}

// answer is how a request ended.
type answer struct {
	status int
	err    error // there was none
}

// stall begins to send all that is left in one chunk, and returns when n bytes
// are in flight.
func (u *upload) stall(oci *ociclient.Client, n int) *stalled {
	return u.begin(oci, http.MethodPatch, u.location, n)
}

// stallClose is stall with the request that ends the upload.
func (u *upload) stallClose(oci *ociclient.Client, n int) *stalled {
	return u.begin(oci, http.MethodPut, u.location+"?digest="+url.QueryEscape(u.digest), n)
}

func (u *upload) begin(oci *ociclient.Client, method, target string, n int) *stalled {
	content := u.bytes[u.offset:]
	body, write := io.Pipe()
	s := &stalled{body: write, left: content[n:], answer: make(chan answer, 1)}
	// Not the test's context: the cluster ends these requests, or none does.
	req, err := http.NewRequestWithContext(context.Background(), method, target, body)
	if err != nil {
		panic(err) // the target is a URL that a node has made
	}
	req.Host, req.ContentLength = oci.Host, int64(len(content))
	req.Header.Set("Content-Type", "application/octet-stream")
	req.SetBasicAuth(oci.User, oci.Secret)
	go func() {
		res, err := oci.HTTP.Transport.RoundTrip(req)
		if err != nil {
			_ = body.CloseWithError(err)
			s.answer <- answer{err: err}
			return
		}
		_ = res.Body.Close()
		_ = body.Close() // an answer may come before the whole body is sent
		s.answer <- answer{status: res.StatusCode}
	}()
	_, _ = write.Write(content[:n]) // an error shows in the answer
	return s
}

// rest sends what is left and returns the answer.
func (s *stalled) rest() answer {
	_, _ = s.body.Write(s.left) // an error shows in the answer
	_ = s.body.Close()
	return <-s.answer
}
