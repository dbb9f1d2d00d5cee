package testserver

import "fmt"

// DurablePostgres starts a server that keeps its promises to the disk, as those
// that Berth is used with, for a program that is no test: the URL of a database,
// and what ends the server with all else that was started.
func DurablePostgres() (url string, stop func(), err error) {
	port, err := runPostgres("-c", "max_connections=300")
	if err != nil {
		Stop()
		return "", nil, err
	}
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port), func() { Stop() }, nil
}
