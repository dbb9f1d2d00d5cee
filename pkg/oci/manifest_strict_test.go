package oci_test

import (
	stdjson "encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// kinds are one good manifest of each kind.
var kinds = []string{image, index, dockerImage, dockerList, artifact}

// TestD2_ParserDifferences: documents that decoders read differently are
// refused, or anyway read with the same digests.
func TestD2_ParserDifferences(t *testing.T) {
	tried := 0
	for _, good := range kinds {
		agree(t, good)
		for _, bad := range disagreements(good) {
			tried++
			refuseManifest(t, "", bad)
		}
		for _, odd := range oddities(good) {
			tried++
			if _, err := oci.ParseManifest("", []byte(odd)); err != nil {
				t.Errorf("refused an odd but unambiguous document: %v\n%s", err, odd)
			}
			agree(t, odd)
		}
	}
	if tried < 200 {
		t.Errorf("the row asks for 200 documents, not %d", tried)
	}
}

// disagreements are variants of a good manifest on which decoders differ.
func disagreements(good string) []string {
	var bad []string
	replace := func(from, to string) {
		if strings.Contains(good, from) {
			bad = append(bad, strings.Replace(good, from, to, 1))
		}
	}
	add := func(members string) { bad = append(bad, "{"+members+","+good[1:], good[:len(good)-1]+","+members+"}") }
	for _, name := range []string{
		"mediaType", "config", "layers", "manifests", "blobs", "digest", "size", "subject", "artifactType", "platform", "os",
	} {
		quoted := `"` + name + `":`
		for _, other := range []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name[:1]) + strings.ToLower(name[1:])} {
			replace(quoted, `"`+other+`":`)
		}
		replace(quoted, `"`+name+`":null,`+quoted) // twice
		if i := strings.IndexByte(name, 's'); i >= 0 {
			replace(quoted, `"`+name[:i]+"\u017f"+name[i+1:]+`":`) // folds to s
			replace(quoted, `"`+name[:i]+`\u017f`+name[i+1:]+`":`)
			replace(quoted, `"`+name[:i]+`\u0073`+name[i+1:]+`":null,`+quoted) // twice, once escaped
		}
	}
	for _, name := range []string{"Layers", "LAYERS", "layerS", "Manifests", "Blobs", "Config", "Subject", "FsLayers", "MediaType", "ArtifactType"} {
		add(`"` + name + `":[]`)
		add(`"` + name + `":null`)
	}
	for _, size := range []string{
		"-1", "-0.5", "8.0", "8e0", "9223372036854775808", "1e400", "18446744073709551616", `"8"`, "null", "true", "[8]", "08", "+8", "0x8", ".8", "8.", "NaN", "Infinity",
	} {
		replace(`"size":`, `"size":`+size+`,"ignored":`)
		replace(`"size":7`, `"size":`+size)
		replace(`"size":8`, `"size":`+size)
	}
	for _, digest := range []string{"null", "1", `""`, `"sha256:"`, `"` + strings.ToUpper(digestA) + `"`, `"` + digestA + ` "`, `["` + digestA + `"]`, `{}`} {
		replace(`"digest":"`+digestA+`"`, `"digest":`+digest)
		replace(`"digest":"`+digestB+`"`, `"digest":`+digest)
	}
	for _, tail := range []string{good, "{}", "null", "0", ",", "]", "}", "\x00", "//", "/* */", "\ufeff", "\xff", "\v", "\u00a0", ";"} {
		bad = append(bad, good+tail)
	}
	for _, head := range []string{"\ufeff", "[", "{", "\x00", "//\n", ")]}'\n", "0 ", "null "} {
		bad = append(bad, head+good)
	}
	bad = append(bad, "["+good+"]", `"`+good+`"`, strings.ReplaceAll(good, `"`, `'`), good[:len(good)-1]+",}", good[:len(good)-1], "", " ", "null", "[]", "{}", "0")
	for _, junk := range []string{"\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", `"\ud800"`, `"\udc00\ud800"`, `"\x41"`, "\"\n\"", "\"\x00\"", `01`, `tru`, `{"a":1,"a":2}`, `[{"b":{"a":1,"a":1}}]`} {
		add(`"org.example.custom":` + junk)
		add(`"annotations2":{"a":` + junk + `}`)
	}
	return bad
}

// oddities are variants that all decoders read alike.
func oddities(good string) []string {
	escaped := strings.NewReplacer(`"digest"`, `"\u0064\u0069gest"`, `"layers"`, `"\u006cayers"`, "sha256:", `sha\u003256\u003a`, "/", `\/`).Replace(good)
	spaced := strings.NewReplacer("sha256:", `sha256\u003a`, ":", " : ", ",", "\n,\t", "{", "{ \r\n", "}", " }").Replace(good)
	return []string{
		escaped, spaced, " \t\r\n" + good + " \t\r\n",
		"{" + `"digest":"` + digestA + `","Digest":"x","size":"x","platform":1,` + good[1:], // not members of a manifest
		good[:len(good)-1] + `,"":{"layers":[{"digest":"x"}],"Layers":1},"layer":[],"layers ":[],"big":1e400,"n":123456789012345678901234567890}`,
		good[:len(good)-1] + `,"emoji":"\ud83d\ude00 😀","nul":"\u0000"}`,
	}
}

// TestD3_EncodingsParseAlike: how the JSON is written changes its own digest
// but nothing that it says, and parsing leaves the bytes alone.
func TestD3_EncodingsParseAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(dice.Seed(t), 3))
	for _, good := range kinds {
		want := parseManifest(t, good)
		for range 200 {
			payload := []byte(reencode(random, good))
			before := oci.DigestOf(oci.SHA256, payload)
			m, err := oci.ParseManifest("", payload)
			if err != nil {
				t.Fatalf("ParseManifest(%s): %v", payload, err)
			}
			if oci.DigestOf(oci.SHA256, payload) != before {
				t.Fatalf("the bytes changed: %s", payload)
			}
			if !reflect.DeepEqual(m, want) {
				t.Fatalf("ParseManifest(%s) = %+v, want %+v", payload, m, want)
			}
		}
	}
}

// reencode writes the same document otherwise: white space between tokens and
// escapes within strings.
func reencode(random *rand.Rand, payload string) string {
	var out strings.Builder
	inString := false
	for _, c := range payload {
		switch {
		case c == '"':
			inString = !inString
			out.WriteRune(c)
		case inString && random.IntN(10) == 0:
			fmt.Fprintf(&out, `\u%04x`, c)
		case !inString && strings.ContainsRune("{}[],:", c):
			out.WriteString(strings.Repeat(" ", random.IntN(2)))
			out.WriteRune(c)
			out.WriteString([]string{"", "\n", "\t", "\r\n", "  "}[random.IntN(5)])
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}

// FuzzParseManifest: whatever is taken, ordinary decoders see the same digests in it.
func FuzzParseManifest(f *testing.F) {
	for _, good := range kinds {
		f.Add("", []byte(good))
		for _, odd := range oddities(good) {
			f.Add("", []byte(odd))
		}
	}
	for i, bad := range disagreements(image) {
		if i%8 == 0 {
			f.Add(oci.MediaTypeImageManifest, []byte(bad))
		}
	}
	f.Fuzz(func(t *testing.T, contentType string, payload []byte) {
		m, err := oci.ParseManifest(contentType, payload)
		if err != nil {
			if !fault.Is(err, fault.ManifestInvalid) {
				t.Fatalf("ParseManifest: %v", err)
			}
			return
		}
		agreeOn(t, m, string(payload))
	})
}

// agree wants that, if we take the payload, other decoders read it as we do.
func agree(t *testing.T, payload string) {
	t.Helper()
	if m, err := oci.ParseManifest("", []byte(payload)); err == nil {
		agreeOn(t, m, payload)
	}
}

func agreeOn(t *testing.T, m *oci.Manifest, payload string) {
	t.Helper()
	ours := map[string]bool{}
	for _, d := range append(append([]oci.Descriptor{}, m.Blobs...), m.Children...) {
		ours[d.Digest.String()] = true
	}
	if m.Subject != nil {
		ours[m.Subject.Digest.String()] = true
	}
	for name, decode := range map[string]func(string) (map[string]bool, error){"encoding/json": decodeFolding, "a case-sensitive decoder": decodeExact} {
		theirs, err := decode(payload)
		if err != nil {
			t.Fatalf("%s refuses what we took: %v\n%s", name, err, payload)
		}
		if !maps.Equal(ours, theirs) {
			t.Fatalf("we see %v, %s sees %v in\n%s", ours, name, theirs, payload)
		}
	}
}

// decodeFolding reads as Go clients do: encoding/json, which ignores case, and
// all members of all kinds at once.
func decodeFolding(payload string) (map[string]bool, error) {
	var doc struct {
		imagespec.Manifest
		Config    *imagespec.Descriptor  `json:"config"`
		Blobs     []imagespec.Descriptor `json:"blobs"`
		Manifests []imagespec.Descriptor `json:"manifests"`
	}
	if err := stdjson.Unmarshal([]byte(payload), &doc); err != nil {
		return nil, err
	}
	digests := map[string]bool{}
	for _, d := range []*imagespec.Descriptor{doc.Config, doc.Subject} {
		if d != nil {
			digests[d.Digest.String()] = true
		}
	}
	for _, list := range [][]imagespec.Descriptor{doc.Layers, doc.Blobs, doc.Manifests} {
		for _, d := range list {
			digests[d.Digest.String()] = true
		}
	}
	return digests, nil
}

// decodeExact reads as dynamic languages do: into maps, by exact name.
func decodeExact(payload string) (map[string]bool, error) {
	dec := stdjson.NewDecoder(strings.NewReader(payload))
	dec.UseNumber()
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	digests := map[string]bool{}
	collect := func(v any) {
		if d, ok := v.(map[string]any); ok {
			digests[fmt.Sprint(d["digest"])] = true
		}
	}
	for _, name := range []string{"config", "subject"} {
		collect(doc[name])
	}
	for _, name := range []string{"layers", "blobs", "manifests"} {
		list, _ := doc[name].([]any)
		for _, v := range list {
			collect(v)
		}
	}
	return digests, nil
}
