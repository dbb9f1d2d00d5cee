package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// FuzzT69_NoDocumentIsAnArchive: what may be served unsigned is not unpacked by the readers
// of archives that clients use, whatever follows its first block.
func FuzzT69_NoDocumentIsAnArchive(f *testing.F) {
	layer := ocitest.NewImage(1, 10).Layers[0].Bytes
	plain, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		f.Fatal(err)
	}
	archive := make([]byte, blockSize)
	if _, err := plain.Read(archive); err != nil {
		f.Fatal(err)
	}
	json := bytes.Clone(archive)
	json[0] = '{'
	sum := 0
	for i, b := range json {
		if 148 <= i && i < 156 {
			b = ' '
		}
		sum += int(b)
	}
	copy(json[148:], octal(sum))
	if _, err := tar.NewReader(bytes.NewReader(json)).Next(); err != nil {
		f.Fatalf("the archive that begins as JSON does: %v", err)
	}
	for _, seed := range [][]byte{layer, archive, json, []byte(`{"critical": {}}`), []byte("<xml/>"), {0xd2}, {}, bytes.Repeat([]byte("{"), blockSize)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if !beginsDocument(content[:min(len(content), blockSize)]) {
			return
		}
		if _, err := tar.NewReader(bytes.NewReader(content)).Next(); err == nil {
			t.Errorf("%q is an archive", content)
		}
		for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd", "P*M\x18"} {
			if bytes.HasPrefix(content, []byte(magic)) {
				t.Errorf("%q is compressed", content)
			}
		}
	})
}

// octal is a number as in the header of an archive.
func octal(n int) []byte {
	digits := []byte("0000000\x00")
	for i := 6; i >= 0; i-- {
		digits[i] = '0' + byte(n&7)
		n >>= 3
	}
	return digits
}

func TestT69_Documents(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a": 1}`: true, " \n[1]": true, "<?xml?>": true, "SPDXVersion: SPDX-2.3": true, "\xd2\x84": true,
		"": false, "  ": false, "\x1f\x8b\x08": false, "BZh9": false, "file": false, "#!/bin/sh": false, "\x7fELF": false,
	} {
		if beginsDocument([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}
