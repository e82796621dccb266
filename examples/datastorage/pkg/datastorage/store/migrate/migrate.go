// Package migrate brings a database to the schema that this build expects.
// Migrations are numbered SQL files; one that has been applied never changes.
package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
)

// Migration is one numbered step.
type Migration struct {
	Version  int
	Name     string
	SQL      string
	Checksum string
}

// Driver runs migrations on one kind of database.
type Driver interface {
	// Applied returns the checksums of the applied migrations by version. It
	// creates the table that remembers them if necessary.
	Applied(ctx context.Context) (map[int]string, error)
	// Apply runs a migration and remembers it, in one transaction. It does
	// nothing if another process has applied it in the meantime.
	Apply(ctx context.Context, m Migration) error
}

var fileName = regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)\.sql$`)

// Load reads the migrations of a directory, in order. Versions start at 1 and
// have no gaps.
func Load(files fs.FS, dir string) ([]Migration, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var out []Migration
	for _, entry := range entries {
		parts := fileName.FindStringSubmatch(entry.Name())
		if parts == nil {
			return nil, fmt.Errorf("migration %s: the name must look like 0001_create_events.sql", entry.Name())
		}
		version, err := strconv.Atoi(parts[1])
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", entry.Name(), err)
		}
		sql, err := fs.ReadFile(files, path.Join(dir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", entry.Name(), err)
		}
		sum := sha256.Sum256(sql)
		out = append(out, Migration{version, parts[2], string(sql), hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(out, func(a, b Migration) int { return a.Version - b.Version })
	for i, m := range out {
		if m.Version != i+1 {
			return nil, fmt.Errorf("migration %s has version %d where %d was expected", m.Name, m.Version, i+1)
		}
	}
	return out, nil
}

// Run applies what is missing and returns how many migrations that were. It
// refuses a database that is newer than this build or was changed by hand.
func Run(ctx context.Context, d Driver, migrations []Migration) (int, error) {
	applied, err := d.Applied(ctx)
	if err != nil {
		return 0, fmt.Errorf("read applied migrations: %w", err)
	}
	for version := range applied {
		if version > len(migrations) {
			return 0, fmt.Errorf("the database has migration %d, this build knows %d: use a newer build", version, len(migrations))
		}
	}
	count := 0
	for _, m := range migrations {
		checksum, done := applied[m.Version]
		if !done {
			if err := d.Apply(ctx, m); err != nil {
				return count, fmt.Errorf("apply migration %d (%s): %w", m.Version, m.Name, err)
			}
			count++
			continue
		}
		if checksum != m.Checksum {
			return count, fmt.Errorf("migration %d (%s) was applied with other content", m.Version, m.Name)
		}
	}
	return count, nil
}
