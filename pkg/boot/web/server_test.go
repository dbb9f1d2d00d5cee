package web

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/http2"
)

// net/http has an answer of its own to "OPTIONS *"; it must not stand in front
// of the handler, who knows which hosts there are.
func TestA1_OptionsOfTheServerReachesTheHandler(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+" "+r.RequestURI) })
	c := dial(t, s)
	if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, c, "nobody.localhost *")
}

// TestA6_StreamsOfAConnectionAreBounded reads the limit from the first frame that
// a server sends.
func TestA6_StreamsOfAConnectionAreBounded(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "example.com", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	frames := http2.NewFramer(c, c)
	if err := frames.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := frames.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", frame)
	}
	if got, ok := settings.Value(http2.SettingMaxConcurrentStreams); got != maxConcurrentStreams {
		t.Errorf("%d streams at once (%v), not %d", got, ok, maxConcurrentStreams)
	}
}
