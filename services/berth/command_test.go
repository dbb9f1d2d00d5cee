package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
)

// berth runs the command to its end and returns its exit code, what it said
// and what it complained of.
func berth(t *testing.T, environ []string, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, environ, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}} {
		code, out, errs := berth(t, nil, args...)
		if code != exitOK || !strings.Contains(out, "berth config check --config berth.yaml") || errs != "" {
			t.Errorf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	code, out, _ := berth(t, nil, "serve", "--help")
	if code != exitOK || !strings.Contains(out, "--data-addr") || !strings.Contains(out, "BERTH_DATA_DIR") {
		t.Errorf("serve --help: exit code %d\n%s", code, out)
	}
	if strings.Contains(out, "--operator-token=") {
		t.Error("a secret can be given on the command line, where others on the machine see it")
	}
}

func TestEverySettingIsAFlag(t *testing.T) {
	_, out, _ := berth(t, nil, "serve", "--help")
	for _, key := range boot.Keys() {
		flag := "--" + strings.ReplaceAll(key, "_", "-")
		if !strings.Contains(out, flag) && key != "operator_token" {
			t.Errorf("%s is not in\n%s", flag, out)
		}
	}
}

// TestP4_HelpHasEveryDefault looks at each setting, and at each command's example.
func TestP4_HelpHasEveryDefault(t *testing.T) {
	_, out, _ := berth(t, nil, "serve", "--help")
	_, help, _ := strings.Cut(strings.Join(strings.Fields(out), " "), " Flags: ")
	for _, key := range boot.Keys() {
		flag := "--" + strings.ReplaceAll(key, "_", "-")
		_, rest, ok := strings.Cut(help, " "+flag+"=")
		if !ok {
			_, rest, ok = strings.Cut(help, " "+flag+" ") // takes no value
		}
		if !ok {
			continue // a secret: it is not a flag
		}
		rest, _, _ = strings.Cut(rest, " --") // up to the next flag
		if want := boot.DefaultText(key); !strings.Contains(rest, "Default: "+want) && !strings.Contains(rest, "mpty") && !strings.Contains(rest, "; 0 is ") {
			t.Errorf("%s does not say that its default is %q: %s", flag, want, rest)
		}
	}
	for _, command := range [][]string{{"serve"}, {"migrate"}, {"config", "print"}, {"config", "check"}, {"fsck"}, {"version"}, {"login"}, {"credential-provider"}} {
		code, out, errs := berth(t, nil, append(command, "--help")...)
		if code != exitOK || errs != "" || strings.Count(out, "  berth "+strings.Join(command, " ")) == 0 {
			t.Errorf("%v --help has no example: exit code %d\n%s%s", command, code, out, errs)
		}
	}
}

// TestP5_VersionIsAFlag gives what the command of that name gives.
func TestP5_VersionIsAFlag(t *testing.T) {
	_, want, _ := berth(t, nil, "version")
	for _, args := range [][]string{{"--version"}, {"serve", "--version"}} {
		if code, out, errs := berth(t, nil, args...); code != exitOK || out != want || errs != "" {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out, errs)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"sreve":              "did you mean \"serve\"?\nberth see --help.\n",
		"--no-such":          "unknown flag --no-such\nberth see --help.\n",
		"serve --data-dirr=": "did you mean \"--data-dir\"?\nberth serve see --help.\n",
		"serve --grace=x":    "berth serve see --help.\n",
		"config chek":        "did you mean \"check\"?\nberth config see --help.\n",
		"config check --sed": "did you mean \"--seed\"?\nberth config check see --help.\n",
		"backup":             "expected \"<dir>\"\nberth backup see --help.\n",
	} {
		code, out, errs := berth(t, nil, strings.Fields(line)...)
		if code != exitUsage || out != "" || !strings.HasSuffix(errs, want) {
			t.Errorf("%s: exit code %d\n%s%s", line, code, out, errs)
		}
	}
}

// TestHelpShowsTheSettingsThatMatter to a command, and says where the others are.
func TestHelpShowsTheSettingsThatMatter(t *testing.T) {
	for command, want := range map[string]string{
		"backup": "--admin-addr=", "restore": "--data-dir=", "fsck": "--blobs=", "migrate": "--meta=", "config print": "--config=", "config check": "--seed=",
	} {
		_, out, _ := berth(t, nil, append(strings.Fields(command), "--help")...)
		if !strings.Contains(out, want) || strings.Contains(out, "--max-registries") || !strings.Contains(out, "berth serve --help") {
			t.Errorf("%s --help:\n%s", command, out)
		}
	}
}

func TestConfigPrintSaysWhereEachValueIsFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "berth.yaml")
	if err := os.WriteFile(file, []byte("base_domain: registry.test\noperator_token: hunter2hunter2hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := berth(t, []string{"BERTH_GRACE=48h"}, "config", "print", "-c", file, "--upload-ttl=3h", "--anonymous-push")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	for _, want := range []string{
		"base_domain: registry.test # file\n", "grace: 48h # environment\n", "upload_ttl: 3h # flag\n", "anonymous_push: true # flag\n",
		"data_dir: ./berth-data # default\n", "operator_token: '[redacted]' # file\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "hunter2") {
		t.Errorf("a secret is in\n%s", out)
	}
}

func TestConfigCheckPrintsALineForEachProblem(t *testing.T) {
	code, out, errs := berth(t, []string{"BERTH_DATA_ADDR=5000", "BERTH_LOG_LEVEL=loud"}, "config", "check", "--redis=memcached://cache")
	want := `berth: redis: memcached://cache is not of the form redis://cache.example.com:6379/0; leave it empty to do without a server
berth: data_addr: "5000" is not of the form host:port, such as 127.0.0.1:5000 or :5000
berth: log_level: "loud" is not one of debug, info, warn, error
`
	if code != exitFailure || out != "" || errs != want {
		t.Errorf("exit code %d, %q\ngot  %s\nwant %s", code, out, errs, want)
	}
	if code, out, errs := berth(t, nil, "config", "check"); code != exitOK || out == "" || errs != "" {
		t.Errorf("exit code %d %q %q", code, out, errs)
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := berth(t, nil, "version")
	if code != exitOK || !strings.HasPrefix(out, "berth ") || !strings.Contains(out, "go1.") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	code, out, _ = berth(t, nil, "version", "-o", "json")
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitOK || v["version"] == "" || v["go"] == "" {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	if code, _, errs := berth(t, nil, "version", "-o", "xml"); code != exitUsage || !strings.Contains(errs, "text") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestServeRefusesWhatCannotWork(t *testing.T) {
	code, _, errs := berth(t, nil, "serve", "--meta=postgres://u:hunter2@db/berth")
	if code != exitFailure || !strings.HasPrefix(errs, "berth: blobs: ") || strings.Contains(errs, "hunter2") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestServeNamesTheAddressThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, _, errs := berth(t, nil, "serve", "--data-dir", t.TempDir(), "--data-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--admin-grpc-addr=127.0.0.1:0", "--ops-addr", taken.Addr().String())
	if code != exitFailure || !strings.Contains(errs, "berth: ops_addr "+taken.Addr().String()+": address already in use") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestServeUntilToldToStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan int, 1)
	dir := t.TempDir()
	args := []string{"serve", "--data-dir", dir, "--data-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--admin-grpc-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0"}
	var out bytes.Buffer
	go func() {
		done <- run(ctx, args, nil, nil, &out, w)
		w.Close()
	}()
	// Logs are JSON where there is no terminal.
	lines := json.NewDecoder(r)
	var serving map[string]any
	for serving["msg"] != "serving" {
		if err := lines.Decode(&serving); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if out.Len() > 0 {
		t.Errorf("beside logs in JSON the command says\n%s", &out)
	}
	for key, want := range map[string]any{
		"scheme": "http", "data_dir": dir, "operator_token_file": filepath.Join(dir, "operator-token"), "anybody": "anyone who reaches it may pull and push",
	} {
		if serving[key] != want {
			t.Errorf("%s is %v, want %v", key, serving[key], want)
		}
	}
}

func TestReachNamesWhatThisMachineCanUse(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:5000": "localhost:5000", "[::]:5000": "localhost:5000", "10.0.0.5:5000": "10.0.0.5:5000",
	} {
		if got := reach("localhost", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// TestN13_ConfigCheckReadsTheSeedAndTheCertificates, and names their files.
func TestN13_ConfigCheckReadsTheSeedAndTheCertificates(t *testing.T) {
	dir := t.TempDir()
	seed, certs := filepath.Join(dir, "tenants.yaml"), filepath.Join(dir, "certs")
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(seed, "tenants:\n  - id: acme\n    upstreams:\n      - id: inside\n        url: http://127.0.0.1:5000\n      - id: here\n        urll: x\n")
	write(filepath.Join(certs, "a.crt"), "nothing")
	write(filepath.Join(certs, "a.key"), "nothing")
	args := []string{"config", "check", "--data-dir", filepath.Join(dir, "data"), "--seed", seed, "--tls-certs", certs}
	code, _, errs := berth(t, nil, args...)
	for _, want := range []string{
		"tls_certs: ", filepath.Join(certs, "a.crt"),
		"seed: " + seed + ":5: tenants[0].upstreams[0].url: ", "upstream_allow",
		"seed: " + seed + ":7: tenants[0].upstreams[1].urll: unknown field \"urll\"; known fields: ",
	} {
		if code != exitFailure || !strings.Contains(errs, want) {
			t.Errorf("no %q: exit code %d\n%s", want, code, errs)
		}
	}
	write(seed, "tenants: [{id: acme, quota_bytes: 10GiB, upstreams: [{id: inside, url: 'http://127.0.0.1:5000', tag_ttl: 5m}]}]")
	code, out, errs := berth(t, nil, "config", "check", "--data-dir", filepath.Join(dir, "data"), "--seed", seed, "--upstream-allow", "127.0.0.0/8")
	if code != exitOK || out != "The configuration is good.\n" {
		t.Errorf("a good seed: exit code %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("the check made a data directory")
	}
}
