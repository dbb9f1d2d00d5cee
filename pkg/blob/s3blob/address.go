package s3blob

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// address is where a bucket is.
type address struct {
	bucket    string
	endpoint  string // "" = AWS
	public    string // the endpoint by which clients reach it; "" = endpoint
	region    string // "" = the one of the AWS configuration
	pathStyle bool   // the bucket is in the path, not in the host
}

// String is the place for operators.
func (a address) String() string {
	if a.endpoint == "" {
		return fmt.Sprintf("bucket %q at AWS", a.bucket)
	}
	return fmt.Sprintf("bucket %q at %s", a.bucket, a.endpoint)
}

// parseAddress reads the setting blobs. Its errors do not repeat the value,
// which may be a secret.
func parseAddress(s string) (address, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return address{}, errors.New("blobs: not a URL; write s3://bucket?endpoint=…&region=…&path_style=true")
	case u.Scheme != "s3":
		return address{}, errors.New("blobs: the URL does not begin with s3://")
	case u.User != nil:
		return address{}, errors.New("blobs: credentials do not belong into the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role")
	case u.Host == "" || u.Port() != "":
		return address{}, errors.New("blobs: the URL has no bucket; write s3://bucket?endpoint=…")
	case u.Path != "" && u.Path != "/", u.Fragment != "":
		return address{}, errors.New("blobs: only parameters may follow the bucket's name in the URL")
	}
	a := address{bucket: u.Host}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return address{}, errors.New("blobs: the parameters of the URL cannot be read")
	}
	for name, values := range query {
		if len(values) > 1 {
			return address{}, fmt.Errorf("blobs: the parameter %q is given twice", name)
		}
		if err := a.set(name, values[0]); err != nil {
			return address{}, err
		}
	}
	return a, nil
}

func (a *address) set(name, value string) error {
	switch name {
	case "endpoint", "public_endpoint":
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("blobs: the %s is not a URL like https://s3.example.com", name)
		}
		if name == "endpoint" {
			a.endpoint = value
		} else {
			a.public = value
		}
	case "region":
		a.region = value
	case "path_style":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("blobs: path_style is neither true nor false")
		}
		a.pathStyle = b
	default:
		return fmt.Errorf("blobs: unknown parameter %q; known are endpoint, public_endpoint, region and path_style", name)
	}
	return nil
}
