// Package testserver starts the real servers that tests talk to, on free loopback ports in private directories.
package testserver
