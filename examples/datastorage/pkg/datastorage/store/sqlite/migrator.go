package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"covtap.example/datastorage/pkg/datastorage/store/migrate"
)

// migrator implements migrate.Driver.
type migrator struct {
	db *sql.DB
}

// Applied implements migrate.Driver.
func (m migrator) Applied(ctx context.Context) (map[int]string, error) {
	_, err := m.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
		version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)`)
	if err != nil {
		return nil, fmt.Errorf("create table schema_migrations: %w", err)
	}
	type step struct {
		version  int
		checksum string
	}
	steps, err := collect(ctx, m.db, "SELECT version, checksum FROM schema_migrations", nil, func(rows *sql.Rows) (step, error) {
		var s step
		err := rows.Scan(&s.version, &s.checksum)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	applied := map[int]string{}
	for _, s := range steps {
		applied[s.version] = s.checksum
	}
	return applied, nil
}

// Apply implements migrate.Driver. The writing transaction keeps other
// processes away from the file meanwhile.
func (m migrator) Apply(ctx context.Context, step migrate.Migration) error {
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := applyIn(ctx, tx, step); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func applyIn(ctx context.Context, tx *sql.Tx, step migrate.Migration) error {
	result, err := tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name, checksum, applied_at)
		VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`, step.Version, step.Name, step.Checksum, time.Now().UnixMicro())
	if err != nil {
		return err
	}
	added, err := result.RowsAffected()
	if err != nil || added == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, step.SQL)
	return err
}
