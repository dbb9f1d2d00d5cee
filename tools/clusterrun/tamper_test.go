package clusterrun

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestVerificationCanFail changes things behind the cluster's back, one at a
// time. The verification must see each, or it proves nothing.
func TestVerificationCanFail(t *testing.T) {
	postgres, blobs := testserver.StartPostgres(t), testserver.S3(t)
	c := clusterOn(t, whole, "BERTH_META="+postgres.URL(), "BERTH_BLOBS="+blobs)
	l := c.begin(8)
	l.lull(2 * time.Second)
	l.end()
	c.verify()

	db, err := pgx.Connect(t.Context(), postgres.URL())
	c.must(err)
	defer db.Close(context.WithoutCancel(t.Context()))
	exec := func(statement string) {
		t.Helper()
		tag, err := db.Exec(t.Context(), statement)
		c.must(err)
		if tag.RowsAffected() == 0 {
			t.Fatalf("%s: changed nothing", statement)
		}
	}
	var key string
	c.must(db.QueryRow(t.Context(), `SELECT 'o/' || tenant_id || '/' || incarnation FROM blobs WHERE size > 0 LIMIT 1`).Scan(&key))
	object := openObject(t, blobs, key)

	for what, change := range map[string]struct{ do, undo func() }{
		"a charge": {
			func() { exec(`UPDATE usage SET used = used + 1`) },
			func() { exec(`UPDATE usage SET used = used - 1`) },
		},
		"tags": {
			func() { exec(`CREATE TABLE was AS SELECT * FROM tags`); exec(`UPDATE tags SET manifest = NULL`) },
			func() {
				exec(`UPDATE tags SET manifest = was.manifest FROM was WHERE was.repo_id = tags.repo_id AND was.name = tags.name`)
			},
		},
		"an object that is gone":           {object.remove, object.restore},
		"an object with one bit turned":    {object.turn, object.restore},
		"an object that no one knows":      {object.copy, object.removeCopy},
		"an object that lacks a last byte": {object.cut, object.restore},
	} {
		change.do()
		if said, err := c.audit(t.Context()); err == nil {
			t.Errorf("%s: the verification sees nothing: %s", what, said)
		} else {
			t.Logf("%s: %.200s", what, err)
		}
		change.undo()
	}
	c.verify()
}

// object is one in the store, with its true bytes.
type object struct {
	t           *testing.T
	s3          *s3.Client
	bucket, key string
	bytes       []byte
}

// openObject finds an object by the setting blobs.
func openObject(t *testing.T, blobs, key string) *object {
	t.Helper()
	u, err := url.Parse(blobs)
	o := &object{t: t, key: key}
	o.must(err)
	settings, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(u.Query().Get("region")))
	o.must(err)
	o.bucket = u.Host
	o.s3 = s3.NewFromConfig(settings, func(s *s3.Options) {
		s.BaseEndpoint, s.UsePathStyle = aws.String(u.Query().Get("endpoint")), true
	})
	got, err := o.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key})
	o.must(err)
	o.bytes, err = io.ReadAll(got.Body)
	o.must(errors.Join(err, got.Body.Close()))
	return o
}

func (o *object) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *object) put(key string, content []byte) {
	o.t.Helper()
	_, err := o.s3.PutObject(o.t.Context(), &s3.PutObjectInput{Bucket: &o.bucket, Key: &key, Body: bytes.NewReader(content)})
	o.must(err)
}

func (o *object) delete(key string) {
	o.t.Helper()
	_, err := o.s3.DeleteObject(o.t.Context(), &s3.DeleteObjectInput{Bucket: &o.bucket, Key: &key})
	o.must(err)
}

func (o *object) remove()     { o.delete(o.key) }
func (o *object) restore()    { o.put(o.key, o.bytes) }
func (o *object) cut()        { o.put(o.key, o.bytes[:len(o.bytes)-1]) }
func (o *object) copy()       { o.put(o.other(), o.bytes) }
func (o *object) removeCopy() { o.delete(o.other()) }

func (o *object) turn() {
	wrong := bytes.Clone(o.bytes)
	wrong[len(wrong)/2] ^= 1
	o.put(o.key, wrong)
}

// other is a key that no row knows.
func (o *object) other() string {
	return o.key[:strings.LastIndexByte(o.key, '/')+1] + "00000000-0000-4000-8000-000000000000"
}
