package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"covtap.example/datastorage/pkg/datastorage/store/migrate"
)

// lockID is the advisory lock that replicas take to migrate one at a time.
const lockID = 0x64617461

// migrator implements migrate.Driver.
type migrator struct {
	pool *pgxpool.Pool
}

// Applied implements migrate.Driver.
func (m migrator) Applied(ctx context.Context) (map[int]string, error) {
	applied := map[int]string{}
	err := m.locked(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
			version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)`)
		if err != nil {
			return fmt.Errorf("create table schema_migrations: %w", err)
		}
		rows, err := tx.Query(ctx, "SELECT version, checksum FROM schema_migrations")
		if err != nil {
			return err
		}
		var version int
		var checksum string
		_, err = pgx.ForEachRow(rows, []any{&version, &checksum}, func() error {
			applied[version] = checksum
			return nil
		})
		return err
	})
	return applied, err
}

// Apply implements migrate.Driver.
func (m migrator) Apply(ctx context.Context, step migrate.Migration) error {
	return m.locked(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO schema_migrations (version, name, checksum, applied_at)
			VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, step.Version, step.Name, step.Checksum, time.Now().UnixMicro())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, step.SQL)
		return err
	})
}

// locked runs f in a transaction that holds the migration lock.
func (m migrator) locked(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockID); err != nil {
			return fmt.Errorf("wait for other replicas: %w", err)
		}
		return f(tx)
	})
}
