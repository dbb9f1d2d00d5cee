package testserver

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// The entries that each Slapd begins with: two directories, of the shapes of OpenLDAP and of
// Active Directory. The service may read them, a person the own entry only.
const (
	SlapdBase          = "dc=example,dc=org"
	SlapdPeople        = "ou=people,dc=example,dc=org"
	SlapdGroups        = "ou=groups,dc=example,dc=org"
	SlapdService       = "cn=berth,dc=example,dc=org"
	SlapdServiceSecret = "secret of the service"

	ADBase   = "dc=corp,dc=test"
	ADPeople = "ou=users,dc=corp,dc=test"
	ADGroups = "ou=groups,dc=corp,dc=test"

	slapdRoot       = "cn=root,dc=example,dc=org"
	slapdRootSecret = "secret of the root"
)

// Slapd is an OpenLDAP server of one test's own, with the overlays memberof and ppolicy. Its
// methods fail the test where they fail, and are for the test's own goroutine. It goes with
// the test.
type Slapd struct {
	CA *Authority // that signed its certificate, of 127.0.0.1 and localhost

	t         testing.TB
	path, dir string
	port, tls int
	server    *process // nil while it is stopped
	admin     *ldap.Conn
	binds     int // of admin
}

// StartSlapd starts a server with its first entries, and these.
func StartSlapd(t *testing.T, entries ...SlapdEntry) *Slapd {
	t.Helper()
	path, err := exec.LookPath("slapd")
	if err != nil {
		path = "/usr/sbin/slapd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(errors.New("this test needs an LDAP server: run tools/install deb:slapd"))
	}
	s := &Slapd{CA: NewAuthority(t), t: t, path: path}
	s.dir, err = account{}.directory("berth-slapd")
	s.must(err)
	t.Cleanup(func() {
		s.Stop()
		s.must(os.RemoveAll(s.dir))
	})
	s.port, err = freePort()
	s.must(err)
	s.tls, err = freePort()
	s.must(err)
	s.CA.Issue(t, s.dir, "server", "localhost", "127.0.0.1")
	for _, dir := range []string{"people", "corp"} {
		s.must(os.Mkdir(filepath.Join(s.dir, dir), 0o700))
	}
	s.write("ad.schema", adSchema)
	s.write("slapd.conf", strings.NewReplacer("DIR", s.dir, "CA.PEM", s.CA.File).Replace(slapdConf))
	s.load(append(firstEntries(), entries...))
	s.Start()
	return s
}

func (s *Slapd) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *Slapd) write(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

// load adds entries while the server is stopped, which is quick for many. The overlay
// memberof does not see it.
func (s *Slapd) load(entries []SlapdEntry) {
	s.t.Helper()
	for _, base := range []string{SlapdBase, ADBase} {
		var ldif bytes.Buffer
		for _, e := range entries {
			if !strings.HasSuffix(e.DN, base) {
				continue
			}
			fmt.Fprintf(&ldif, "dn:: %s\n", base64.StdEncoding.EncodeToString([]byte(e.DN)))
			for name, values := range e.Attributes {
				for _, v := range values {
					fmt.Fprintf(&ldif, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(v)))
				}
			}
			ldif.WriteString("\n")
		}
		cmd := account{}.command(s.dir, syscall.SIGKILL, s.path, "-T", "add", "-q", "-f", filepath.Join(s.dir, "slapd.conf"), "-b", base)
		cmd.Stdin = &ldif
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("slapadd: %v\n%s", err, out)
		}
	}
}

// URL is that of the port without TLS, which offers StartTLS.
func (s *Slapd) URL() string { return "ldap://" + s.Addr() }

// Addr is the address of URL, host:port, also after a restart.
func (s *Slapd) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// TLSURL is that of the port with TLS.
func (s *Slapd) TLSURL() string { return "ldaps://127.0.0.1:" + strconv.Itoa(s.tls) }

// CAPEM is the certificate of CA.
func (s *Slapd) CAPEM() []byte {
	s.t.Helper()
	text, err := os.ReadFile(s.CA.File)
	s.must(err)
	return text
}

// Start starts the server where it is stopped, with what it had.
func (s *Slapd) Start() {
	s.t.Helper()
	cmd := account{}.command(s.dir, syscall.SIGKILL, s.path, "-d", "0", "-f", filepath.Join(s.dir, "slapd.conf"),
		"-h", s.URL()+"/ "+s.TLSURL()+"/")
	var err error
	s.server, err = startAnswering(cmd, accepts(s.Addr()))
	s.must(err)
	s.admin, err = ldap.DialURL(s.URL())
	s.must(err)
	s.must(s.admin.Bind(slapdRoot, slapdRootSecret))
	s.binds = s.bindsOfAll()
}

// Stop ends the server where it runs: connections are cut, and refused from then on.
func (s *Slapd) Stop() {
	s.t.Helper()
	if s.server == nil {
		return
	}
	_ = s.admin.Close() // it goes with the server
	s.must(s.server.stop(syscall.SIGKILL))
	s.server = nil
}

// Pause stops the server's process: connections are taken by the kernel, and nothing
// answers.
func (s *Slapd) Pause() {
	s.t.Helper()
	s.must(s.server.Signal(syscall.SIGSTOP))
}

// Resume lets a paused server continue.
func (s *Slapd) Resume() {
	s.t.Helper()
	s.must(s.server.Signal(syscall.SIGCONT))
}
