package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTime is how long a request waits for a connection: a server that is
// down is told of soon.
const connectTime = 1500 * time.Millisecond

// leastConnectTime is what each server of a URL with several is given of it.
const leastConnectTime = 500 * time.Millisecond

// maxConns is more than any server takes.
const maxConns = 10_000

// The session's settings (protocol section 3, and how to plan: every statement
// is made to find its rows by an index, whatever its parameters, so planning it
// once is enough). One that the URL names keeps the value given there; what
// the user or the database is set to counts for nothing.
var sessionSettings = map[string]string{
	"enable_seqscan":                      "off",
	"application_name":                    "berth",
	"default_transaction_isolation":       "read committed",
	"lock_timeout":                        "2s",
	"plan_cache_mode":                     "force_generic_plan",
	"idle_in_transaction_session_timeout": "5s",
	"jit":                                 "off",
	"synchronous_commit":                  "on",
	"timezone":                            "UTC",
}

// Values of synchronous_commit with which an acknowledged transaction is on the
// disks of the server, and of a synchronous standby where there is one.
var durableCommits = []string{"on", "remote_apply"}

func poolConfig(o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	// A slash in a password that is not encoded makes a database of the rest.
	if err != nil || strings.Contains(config.ConnConfig.Database, "@") {
		return nil, badURL(o.URL)
	}
	c := config.ConnConfig
	if c.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		// Contract row F7: values never travel in the text of a statement.
		return nil, errors.New("meta: its URL asks for default_query_exec_mode=simple_protocol, which puts values into the text of statements; leave it out")
	}
	for name, value := range sessionSettings {
		if _, chosen := c.RuntimeParams[name]; !chosen {
			c.RuntimeParams[name] = value
		}
	}
	if commit := c.RuntimeParams["synchronous_commit"]; !slices.Contains(durableCommits, commit) {
		return nil, fmt.Errorf("meta: its URL sets synchronous_commit to %q, which may lose acknowledged pushes; leave it out", commit)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = max(leastConnectTime, connectTime/time.Duration(len(servers(c))))
	}
	// After a failover the old primary, or a standby, is not a server to write to;
	// of several servers in the URL, the one that takes writes is used.
	c.ValidateConnect = takesWrites
	if o.ReadOnly {
		c.RuntimeParams["default_transaction_read_only"] = "on"
		c.ValidateConnect = isPrimary
	}
	if o.Traces != nil {
		c.Tracer = newTracer(o.Traces)
	}
	config.PingTimeout = connectTime
	config.MaxConnLifetimeJitter = config.MaxConnLifetime / 4 // not all at once
	config.MaxConns = int32(min(o.MaxConns, maxConns))
	return config, nil
}

// servers are the addresses that a URL names.
func servers(c *pgx.ConnConfig) []string {
	all := []string{pgconnAddress(c.Host, c.Port)}
	for _, other := range c.Fallbacks {
		all = append(all, pgconnAddress(other.Host, other.Port))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func pgconnAddress(host string, port uint16) string {
	_, address := pgconn.NetworkAddress(host, port)
	return address
}

var errNoWrites = errors.New("the server takes no writes: it is a standby, or set to read-only")

func takesWrites(ctx context.Context, c *pgconn.PgConn) error {
	result := c.ExecParams(ctx, `SHOW transaction_read_only`, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	if len(result.Rows) != 1 || string(result.Rows[0][0]) != "off" {
		return errNoWrites
	}
	return nil
}

// isPrimary is takesWrites for a session that itself is read-only.
func isPrimary(ctx context.Context, c *pgconn.PgConn) error {
	result := c.ExecParams(ctx, `SELECT pg_is_in_recovery()`, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	if len(result.Rows) != 1 || string(result.Rows[0][0]) != "f" {
		return errNoWrites
	}
	return nil
}

// badURL says what is wrong with a URL that the driver does not take. The
// driver's own words quote the URL, so they are asked for without its secrets.
func badURL(text string) error {
	const form = "meta: it is not of the form postgres://user:password@host:port/database, with what is special in the password percent-encoded"
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New(form)
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(name, "password") {
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	if _, err := pgxpool.ParseConfig(u.String()); err != nil {
		return fmt.Errorf("meta: %w", err)
	}
	return errors.New(form)
}

// refusal is an error at start as a sentence that names the setting.
func refusal(err error) error {
	var e *pgconn.ConnectError
	switch c := code(err); {
	case errors.Is(err, errNoWrites):
		return fmt.Errorf("meta: no server to write to: %w", oneLine{err})
	case c == "28P01", c == "28000":
		return fmt.Errorf("meta: the server does not let this user in; check the user and the password: %w", oneLine{err})
	case c == "3D000":
		return fmt.Errorf("meta: the database does not exist; create it first: %w", oneLine{err})
	case c == "42501":
		return fmt.Errorf("meta: this user may not do what is needed; run `berth migrate` as the owner of the database, and grant its tables to this user: %w", oneLine{err})
	case errors.As(err, &e):
		return fmt.Errorf("meta: the server cannot be reached: %w", oneLine{err})
	default:
		return fmt.Errorf("meta: %w", err)
	}
}

// oneLine is an error of several lines, one for each server, in one.
type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.Join(strings.FieldsFunc(e.error.Error(), func(r rune) bool { return r == '\n' || r == '\t' }), " ")
}

func (e oneLine) Unwrap() error { return e.error }

const findDurability = `SELECT current_setting('fsync'), current_setting('transaction_read_only'), current_setting('synchronous_commit')`

// CheckDurable refuses a server that may lose what it has acknowledged (protocol
// section 7), or that takes no writes, with a sentence for the operator. Call it
// at start; Open does not, so that tests need no durable server.
func (s *Store) CheckDurable(ctx context.Context) error {
	var fsync, readOnly, commit string
	if _, err := s.find(ctx, noTenant, findDurability, nil, &fsync, &readOnly, &commit); err != nil {
		return refusal(err)
	}
	switch {
	case readOnly != "off":
		return fmt.Errorf("meta: no server to write to: %w", errNoWrites)
	case fsync != "on":
		return errors.New("meta: the server runs with fsync = off and loses acknowledged pushes when its machine stops; set it to on")
	case !slices.Contains(durableCommits, commit):
		return fmt.Errorf("meta: the server runs with synchronous_commit = %s, which may lose acknowledged pushes; set it to on", commit)
	default:
		return nil
	}
}
