package backup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// sums is a list of checksums as sha256sum writes and checks it.
type sums struct {
	file *os.File
	out  *bufio.Writer
}

func createSums(file string) (*sums, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &sums{f, bufio.NewWriter(f)}, nil
}

func (s *sums) add(sum, path string) error {
	_, err := fmt.Fprintf(s.out, "%s  %s\n", sum, filepath.ToSlash(path))
	return err
}

// finish makes the list durable.
func (s *sums) finish() error { return errors.Join(s.out.Flush(), s.file.Sync()) }

func (s *sums) close() error { return s.file.Close() }

// entry is a line of the list.
var entry = regexp.MustCompile(`^([0-9a-f]{64})  (meta\.db|blobs/o/-?[0-9]+/[0-9a-f]{2}/[0-9a-f-]{36})$`)

// eachSum reads the list of the backup in dir.
func eachSum(dir string, fn func(sum, path string) error) error {
	f, err := os.Open(filepath.Join(dir, sumsFile))
	if err != nil {
		return fmt.Errorf("%s is not a backup, or one that did not come to its end: %w", dir, err)
	}
	defer f.Close()
	last := ""
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		parts := entry.FindStringSubmatch(lines.Text())
		if parts == nil || last == database {
			return fmt.Errorf("%s: line %d is not one that berth backup writes: %.200q", f.Name(), n, strings.TrimSpace(lines.Text()))
		}
		last = parts[2]
		if err := fn(parts[1], last); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if last != database {
		return fmt.Errorf("%s is cut off: its last line is not that of %s", f.Name(), database)
	}
	return nil
}

func isUnknown(err error) bool { return fault.Is(err, fault.ResourceUnknown) }
