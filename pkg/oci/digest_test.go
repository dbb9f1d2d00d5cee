package oci_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	godigest "github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	emptySHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	emptySHA512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

// TestA10_OnlyCanonicalDigests: one spelling of sha256 and sha512, nothing else.
func TestA10_OnlyCanonicalDigests(t *testing.T) {
	sum256, sum512 := emptySHA256[7:], emptySHA512[7:]
	hostile := []string{
		"", ":", "::", "sha256", "sha256:", "sha512:", ":" + sum256, sum256, "sha256" + sum256,
		"sha256:../..", "sha256:../../etc/passwd", "sha256:..%2f..", "sha256:%2e%2e", "../sha256:" + sum256,
		"sha256:" + strings.ToUpper(sum256), "sha256:E" + sum256[1:], "SHA256:" + sum256, "Sha256:" + sum256,
		"sha256:" + sum256[1:], "sha256:" + sum256 + "0", "sha256:0" + sum256, "sha256:" + sum256[:62], "sha256:" + sum512,
		"sha512:" + sum512[1:], "sha512:" + sum512 + "0", "sha512:" + sum256, "sha512:" + strings.ToUpper(sum512),
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"sha224:" + sum256[:56], "sha384:" + sum512[:96], "sha3-256:" + sum256, "blake3:" + sum256, "blake2b:" + sum512,
		"sha256+b64:" + sum256, "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", "multihash+base58:QmRZxt2b1",
		"sha-256:" + sum256, "sha_256:" + sum256, "sha256.:" + sum256, "sha256=" + sum256, "sha256-" + sum256, "sha256/" + sum256,
		"sha256::" + sum256[1:], "sha256:sha256:" + sum256[7:], "sha256:" + sum256 + ":", "sha256:" + sum256 + "@", "sha256:0x" + sum256[2:],
		" sha256:" + sum256, "sha256: " + sum256[1:], "sha256:" + sum256 + " ", "sha256:" + sum256 + "\n", "sha256:" + sum256[:63] + "\x00",
		"sha256:" + sum256[:63] + "g", "sha256:" + sum256[:63] + "/", "sha256:" + sum256[:62] + "é", "sha256:" + sum256[:61] + "0",
		"sha256:" + strings.Repeat("-", 64), "sha256:" + strings.Repeat("%", 64), "sha256:" + strings.Repeat("\xff", 64),
		"sha256\x00:" + sum256, "ѕha256:" + sum256, "sha２56:" + sum256, "*:" + sum256, "sha256:" + strings.Repeat("0", 1<<20),
		"sha256:' OR 1=1 --", "sha256:" + sum256[:32] + "/" + sum256[33:], "sha256:" + sum256[:32] + `\` + sum256[33:],
	}
	if len(hostile) < 60 {
		t.Fatalf("the row asks for 60 strings, not %d", len(hostile))
	}
	for _, s := range hostile {
		d, err := oci.ParseDigest(s)
		if d != "" || !fault.Is(err, fault.DigestInvalid) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseDigest(%.80q) = %q, %v; want DIGEST_INVALID", s, d, err)
		}
		if err != nil && len(err.Error()) > 1024 {
			t.Errorf("ParseDigest(%.80q): the error repeats the whole input", s)
		}
	}
}

func TestDigestParts(t *testing.T) {
	for _, s := range []string{emptySHA256, emptySHA512} {
		d, err := oci.ParseDigest(s)
		if err != nil {
			t.Fatalf("ParseDigest(%q): %v", s, err)
		}
		if got := d.Algorithm().Size() * 2; got != len(d.Hex()) {
			t.Errorf("%s: %d hexadecimal digits, want %d", s, len(d.Hex()), got)
		}
		if got := string(d.Algorithm()) + ":" + d.Hex(); got != s || d.String() != s {
			t.Errorf("parts of %s join to %s", s, got)
		}
		if got := oci.DigestOf(d.Algorithm(), nil); got != d {
			t.Errorf("DigestOf nothing = %s, want %s", got, d)
		}
	}
	var none oci.Digest
	if none.Algorithm() != "" || none.Hex() != "" || none.Bytes() != nil || none.Algorithm().Size() != 0 {
		t.Error("the empty digest has parts")
	}
}

// TestDigestBytesAreStable: the stored form is on disk and never changes.
func TestDigestBytesAreStable(t *testing.T) {
	sum := sha256.Sum256([]byte("berth"))
	d := oci.DigestOf(oci.SHA256, []byte("berth"))
	if want := append([]byte{1}, sum[:]...); !bytes.Equal(d.Bytes(), want) {
		t.Errorf("stored sha256 = %x, want %x", d.Bytes(), want)
	}
	d512 := oci.DigestOf(oci.SHA512, []byte("berth"))
	if b := d512.Bytes(); len(b) != 65 || b[0] != 2 || hex.EncodeToString(b[1:]) != d512.Hex() {
		t.Errorf("stored sha512 = %x", b)
	}
	for _, want := range []oci.Digest{d, d512} {
		if got, err := oci.DigestFromBytes(want.Bytes()); err != nil || got != want {
			t.Errorf("DigestFromBytes = %q, %v; want %q", got, err, want)
		}
	}
	for _, b := range [][]byte{nil, {}, {1}, {2}, make([]byte, 33), make([]byte, 65), d.Bytes()[:32], append(d.Bytes(), 0), append([]byte{2}, sum[:]...)} {
		if got, err := oci.DigestFromBytes(b); !fault.Is(err, fault.DigestInvalid) {
			t.Errorf("DigestFromBytes(%x) = %q, %v; want DIGEST_INVALID", b, got, err)
		}
	}
}

func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{"", emptySHA256, emptySHA512, "sha256:", "sha256:../..", "sha1:00", strings.ToUpper(emptySHA256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := oci.ParseDigest(s)
		if err != nil {
			if !fault.Is(err, fault.DigestInvalid) {
				t.Fatalf("ParseDigest(%q): %v", s, err)
			}
			return
		}
		if d.String() != s {
			t.Fatalf("ParseDigest(%q) changed it to %q", s, d)
		}
		if err := godigest.Digest(s).Validate(); err != nil {
			t.Fatalf("accepted %q, which go-digest refuses: %v", s, err)
		}
		if back, err := oci.DigestFromBytes(d.Bytes()); err != nil || back != d {
			t.Fatalf("stored form of %q comes back as %q, %v", d, back, err)
		}
	})
}

func BenchmarkParseDigest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := oci.ParseDigest(emptySHA256); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParseDigest() {
	d, err := oci.ParseDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	fmt.Println(d.Algorithm(), d.Hex()[:12], err)

	_, err = oci.ParseDigest("md5:d41d8cd98f00b204e9800998ecf8427e")
	fmt.Println(err)
	// Output:
	// sha256 e3b0c44298fc <nil>
	// DIGEST_INVALID: digest algorithm "md5" is not one of sha256, sha512
}
