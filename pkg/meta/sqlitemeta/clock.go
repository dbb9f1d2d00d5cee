package sqlitemeta

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"modernc.org/sqlite"
)

// connector opens connections of one store.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

// Connect implements driver.Connector.
func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.driver }

// openDB opens a database in which the function berth_now answers the store's
// time, in microseconds.
func openDB(dsn string, now func() int64) (*sql.DB, error) {
	d := &sqlite.Driver{}
	err := d.RegisterScalarFunction("berth_now", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		return now(), nil
	})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{d, dsn}), nil
}
