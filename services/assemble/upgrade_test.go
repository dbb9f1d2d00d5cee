package assemble_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// What version 16 of the schema holds, with all nouns that are configured, works
// with this program: content is served with all of its tags, the account's key still
// logs in and moves a tag, as no tag rule is there, and fsck finds nothing.
func TestH4_Version16(t *testing.T) {
	t.Run("a directory", func(t *testing.T) {
		dir := t.TempDir()
		unpack(t, "testdata/schema-0016.tar.gz", dir)
		c := embeddedIn(dir)
		c.SecretKey, c.UpstreamAllow = boot.NewSecret(secret), []boot.Network{{Prefix: loopback[0]}}
		worksAsBefore(t, c, filepath.Join(dir, "ci-secret"))
	})
	t.Run("a database and a bucket", func(t *testing.T) {
		dir := t.TempDir()
		unpack(t, "testdata/schema-0016-postgres.tar.gz", dir)
		c := serversWith(t, testserver.StartPostgres(t), "")
		c.UpstreamAllow = []boot.Network{{Prefix: loopback[0]}}
		loadDump(t, c.Meta.Reveal(), filepath.Join(dir, "dump.sql"))
		fillBucket(t, c.Blobs.Reveal(), filepath.Join(dir, "bucket"))
		worksAsBefore(t, c, filepath.Join(dir, "ci-secret"))
	})
}

func worksAsBefore(t *testing.T, c boot.Config, secretFile string) {
	t.Helper()
	key, err := os.ReadFile(secretFile)
	mustAll(t, err)
	serveOnce(t, c, func(n *node) {
		w := newWorld(t, n.at("data_addr"), n)
		r := repository{deployment{base: w.registry("acme.localhost"), client: w.client}, "old/app"}
		r.get(t, r.at("manifests/v1")).want(t, http.StatusOK)
		for _, layer := range []string{"the first layer of the version before", "the second layer of the version before"} {
			if got := r.get(t, r.at("blobs/%s", digestOf([]byte(layer)))).want(t, http.StatusOK); string(got.body) != layer {
				t.Errorf("got %q", got.body)
			}
		}
		login, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/token?scope=repository:old/app:pull,push", nil)
		mustAll(t, err)
		login.SetBasicAuth("ci", string(key))
		answer, err := r.client.Do(login)
		mustAll(t, err)
		var token struct{ Token string }
		mustAll(t, json.NewDecoder(answer.Body).Decode(&token), answer.Body.Close())
		if answer.StatusCode != http.StatusOK {
			t.Errorf("the key of before: %s", answer.Status)
		}
		tags := func() string { return string(bytes.TrimSpace(r.get(t, r.at("tags/list")).want(t, http.StatusOK).body)) }
		if got := tags(); got != `{"name":"old/app","tags":["v1"]}` {
			t.Errorf("the tags are %s", got)
		}
		other := ocitest.Index()
		header := headers("Authorization", "Bearer "+token.Token, "Content-Type", other.MediaType)
		r.send(t, request{method: http.MethodPut, target: r.at("manifests/v1"), header: header, body: other.Bytes}).want(t, http.StatusCreated)
		if got := r.get(t, r.at("manifests/v1")).want(t, http.StatusOK); !bytes.Equal(got.body, other.Bytes) || tags() != `{"name":"old/app","tags":["v1"]}` {
			t.Errorf("v1 is %s, the tags are %s", got.body, tags())
		}
	})
	if found, err := check(c); err != nil || len(found) > 0 {
		t.Errorf("fsck: %v, %v", found, err)
	}
}

// loadDump runs a dump of pg_dump.
func loadDump(t *testing.T, database, dump string) {
	t.Helper()
	statements, err := os.ReadFile(dump)
	mustAll(t, err)
	db, err := pgx.Connect(t.Context(), database)
	mustAll(t, err)
	_, err = db.PgConn().Exec(t.Context(), string(statements)).ReadAll()
	mustAll(t, err, db.Close(t.Context()))
}

// fillBucket puts the files of a directory into the bucket of the setting blobs.
func fillBucket(t *testing.T, blobs, dir string) {
	t.Helper()
	u, err := url.Parse(blobs)
	mustAll(t, err)
	settings, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(u.Query().Get("region")))
	mustAll(t, err)
	client := s3.NewFromConfig(settings, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = aws.String(u.Query().Get("endpoint")), true
	})
	mustAll(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(dir, path)
		if err == nil {
			_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &u.Host, Key: &key, Body: bytes.NewReader(content)})
		}
		return err
	}))
}
