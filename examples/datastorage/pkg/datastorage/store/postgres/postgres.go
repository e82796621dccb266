// Package postgres keeps the audit store in PostgreSQL.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/store/migrate"
	"covtap.example/datastorage/pkg/datastorage/store/sqlbuild"
)

//go:embed migrations/*.sql
var migrations embed.FS

// SQLSTATE codes that this package looks at.
const (
	codeUniqueViolation      = "23505"
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	classConnection          = "08"
	classResources           = "53"
	classIntervention        = "57"
)

var dialect = sqlbuild.Dialect{
	Placeholder: func(n int) string { return fmt.Sprintf("$%d", n) },
	Label: func(key, value string) string {
		return fmt.Sprintf("labels ->> %s::text = %s::text", key, value)
	},
	Like: "ILIKE",
}

// Store is the audit store over a pool of connections.
type Store struct {
	pool *pgxpool.Pool
}

var _ store.Store = (*Store)(nil)

// Open connects to the database and brings its schema up to date. It returns
// the number of migrations that it applied.
func Open(ctx context.Context, databaseURL string) (*Store, int, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		// pgx leaves the password out of this message.
		return nil, 0, fmt.Errorf("read database URL: %w", err)
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "data-storage"
	}
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, 0, fmt.Errorf("open database: %w", err)
	}
	s := &Store{pool: pool}
	steps, err := migrate.Load(migrations, "migrations")
	if err != nil {
		pool.Close()
		return nil, 0, err
	}
	applied, err := migrate.Run(ctx, migrator{pool}, steps)
	if err != nil {
		pool.Close()
		return nil, applied, fmt.Errorf("prepare database: %w", err)
	}
	return s, applied, nil
}

// Name returns "postgres".
func (s *Store) Name() string { return "postgres" }

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	return translate(s.pool.Ping(ctx))
}

// Close waits for connections in use and closes all.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// attempts bounds how often a transaction is tried that lost a race.
const attempts = 3

// inTx runs f in a transaction, again if the database asks for it.
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	var err error
	for range attempts {
		err = pgx.BeginFunc(ctx, s.pool, f)
		if !isCode(err, codeSerializationFailure) && !isCode(err, codeDeadlock) {
			break
		}
	}
	return translate(err)
}

// Append implements store.Store.
func (s *Store) Append(ctx context.Context, events []*audit.Event) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		for _, group := range store.ByStream(events) {
			if err := appendStream(ctx, tx, group); err != nil {
				return err
			}
		}
		return nil
	})
}

// appendStream seals and inserts events of one stream. The row lock on the
// stream makes writers of one chain wait for each other.
func appendStream(ctx context.Context, tx pgx.Tx, events []*audit.Event) error {
	stream := events[0].Stream
	_, err := tx.Exec(ctx, "INSERT INTO streams (name, last_sequence, last_hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING", stream, audit.Genesis)
	if err != nil {
		return fmt.Errorf("create stream %s: %w", stream, err)
	}
	var sequence int64
	var hash string
	row := tx.QueryRow(ctx, "SELECT last_sequence, last_hash FROM streams WHERE name = $1 FOR UPDATE", stream)
	if err := row.Scan(&sequence, &hash); err != nil {
		return fmt.Errorf("lock head of stream %s: %w", stream, err)
	}
	batch := &pgx.Batch{}
	for _, e := range events {
		sequence++
		e.Seal(sequence, hash)
		hash = e.Hash
		values, err := sqlbuild.EventValues(e)
		if err != nil {
			return err
		}
		batch.Queue(dialect.Insert(), values...)
	}
	results := tx.SendBatch(ctx, batch)
	for _, e := range events {
		if _, err := results.Exec(); err != nil {
			closed := results.Close()
			if isCode(err, codeUniqueViolation) {
				return &store.DuplicateError{ID: e.ID}
			}
			return errors.Join(fmt.Errorf("insert event %s: %w", e.ID, err), closed)
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("insert events of stream %s: %w", stream, err)
	}
	_, err = tx.Exec(ctx, "UPDATE streams SET last_sequence = $2, last_hash = $3 WHERE name = $1", stream, sequence, hash)
	if err != nil {
		return fmt.Errorf("move head of stream %s: %w", stream, err)
	}
	return nil
}

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, id string) (*audit.Event, error) {
	e, err := sqlbuild.ScanEvent(s.pool.QueryRow(ctx, sqlbuild.SelectEvent(dialect), id))
	return e, translate(err)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, f query.Filter, page pagination.Page) ([]*audit.Event, error) {
	return collect(ctx, s.pool, dialect.List(f, page), func(row pgx.CollectableRow) (*audit.Event, error) {
		return sqlbuild.ScanEvent(row)
	})
}

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, f query.Filter) (int64, error) {
	st := dialect.Count(f)
	var n int64
	err := s.pool.QueryRow(ctx, st.SQL, st.Args...).Scan(&n)
	return n, translate(err)
}

// Stats implements store.Store.
func (s *Store) Stats(ctx context.Context, f query.Filter, groupBy []string, interval time.Duration) ([]store.Bucket, error) {
	return collect(ctx, s.pool, dialect.Stats(f, groupBy, interval), func(row pgx.CollectableRow) (store.Bucket, error) {
		return sqlbuild.ScanBucket(row, groupBy, interval)
	})
}

// SetHold implements store.Store.
func (s *Store) SetHold(ctx context.Context, id string, expected int64, hold audit.Hold) (*audit.Event, error) {
	var updated *audit.Event
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		e, err := sqlbuild.ScanEvent(tx.QueryRow(ctx, sqlbuild.SelectEvent(dialect)+" FOR UPDATE", id))
		if err != nil {
			return err
		}
		if err := store.CheckVersion(expected, e.Version); err != nil {
			return err
		}
		e.Hold = hold
		e.Version++
		_, err = tx.Exec(ctx, "UPDATE events SET on_hold = $2, hold_reason = $3, version = $4 WHERE id = $1",
			id, hold.Active, hold.Reason, e.Version)
		updated = e
		return err
	})
	if err != nil {
		return nil, err
	}
	return updated, nil
}

// collect runs a query and reads all its rows.
func collect[T any](ctx context.Context, q querier, st sqlbuild.Statement, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := q.Query(ctx, st.SQL, st.Args...)
	if err != nil {
		return nil, translate(err)
	}
	out, err := pgx.CollectRows(rows, scan)
	return out, translate(err)
}

func isCode(err error, code string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code
}

// translate maps pgx's errors to those of package store.
func translate(err error) error {
	var pgErr *pgconn.PgError
	var connectErr *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return store.ErrNotFound
	case errors.As(err, &connectErr):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	case errors.As(err, &pgErr):
		switch pgErr.Code[:2] {
		case classConnection, classResources, classIntervention:
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return err
}
