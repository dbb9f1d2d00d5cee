// Package importcheck holds one test: which package of Berth may import which.
// Its table is the architecture; ARCHITECTURE.md explains it.
package importcheck
