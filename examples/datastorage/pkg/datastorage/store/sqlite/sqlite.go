// Package sqlite keeps the audit store in one file, with a SQLite that is
// compiled into the program. One connection writes; several read.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"time"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"covtap.example/datastorage/pkg/datastorage/audit"
	"covtap.example/datastorage/pkg/datastorage/pagination"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/store/migrate"
	"covtap.example/datastorage/pkg/datastorage/store/sqlbuild"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is the number of connections that read at the same time.
const readers = 4

var dialect = sqlbuild.Dialect{
	Placeholder: func(n int) string { return fmt.Sprintf("?%d", n) },
	Label: func(key, value string) string {
		return fmt.Sprintf("EXISTS (SELECT 1 FROM json_each(labels) AS l WHERE l.key = %s AND l.value = %s)", key, value)
	},
	Like: "LIKE",
}

// Store is the audit store over one database file.
type Store struct {
	write *sql.DB
	read  *sql.DB
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the database file and brings its schema up to date.
// It returns the number of migrations that it applied.
func Open(ctx context.Context, path string) (*Store, int, error) {
	write, err := sql.Open("sqlite", dsn(path, "immediate", false))
	if err != nil {
		return nil, 0, fmt.Errorf("open database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn(path, "deferred", true))
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open database %s: %w", path, err), write.Close())
	}
	read.SetMaxOpenConns(readers)
	s := &Store{write: write, read: read}

	steps, err := migrate.Load(migrations, "migrations")
	if err != nil {
		return nil, 0, errors.Join(err, s.Close())
	}
	applied, err := migrate.Run(ctx, migrator{write}, steps)
	if err != nil {
		return nil, applied, errors.Join(fmt.Errorf("prepare database %s: %w", path, err), s.Close())
	}
	return s, applied, nil
}

// dsn is the driver's name for the file with our settings.
func dsn(path, lock string, readOnly bool) string {
	values := url.Values{}
	values.Set("_txlock", lock)
	values.Add("_pragma", "busy_timeout(5000)")
	values.Add("_pragma", "journal_mode(WAL)")
	values.Add("_pragma", "synchronous(NORMAL)")
	values.Add("_pragma", "foreign_keys(1)")
	if readOnly {
		values.Add("_pragma", "query_only(1)")
	}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: values.Encode()}).String()
}

// Name returns "sqlite".
func (s *Store) Name() string { return "sqlite" }

// Ping asks the database for an answer that needs the file.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	return translate(s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM streams WHERE name = ''").Scan(&n))
}

// Close closes all connections.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
}

// inTx runs f in a writing transaction.
func (s *Store) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	if err := f(tx); err != nil {
		if rollback := tx.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
			return errors.Join(translate(err), fmt.Errorf("roll back: %w", rollback))
		}
		return translate(err)
	}
	return translate(tx.Commit())
}

// Append implements store.Store.
func (s *Store) Append(ctx context.Context, events []*audit.Event) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		for _, group := range store.ByStream(events) {
			if err := appendStream(ctx, tx, group); err != nil {
				return err
			}
		}
		return nil
	})
}

// appendStream seals and inserts events of one stream.
func appendStream(ctx context.Context, tx *sql.Tx, events []*audit.Event) error {
	stream := events[0].Stream
	_, err := tx.ExecContext(ctx, "INSERT INTO streams (name, last_sequence, last_hash) VALUES (?1, 0, ?2) ON CONFLICT DO NOTHING", stream, audit.Genesis)
	if err != nil {
		return fmt.Errorf("create stream %s: %w", stream, err)
	}
	var sequence int64
	var hash string
	row := tx.QueryRowContext(ctx, "SELECT last_sequence, last_hash FROM streams WHERE name = ?1", stream)
	if err := row.Scan(&sequence, &hash); err != nil {
		return fmt.Errorf("read head of stream %s: %w", stream, err)
	}
	for _, e := range events {
		sequence++
		e.Seal(sequence, hash)
		hash = e.Hash
		values, err := sqlbuild.EventValues(e)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, dialect.Insert(), values...); err != nil {
			if isCode(err, codes.SQLITE_CONSTRAINT_PRIMARYKEY) {
				return &store.DuplicateError{ID: e.ID}
			}
			return fmt.Errorf("insert event %s: %w", e.ID, err)
		}
	}
	_, err = tx.ExecContext(ctx, "UPDATE streams SET last_sequence = ?2, last_hash = ?3 WHERE name = ?1", stream, sequence, hash)
	if err != nil {
		return fmt.Errorf("move head of stream %s: %w", stream, err)
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, id string) (*audit.Event, error) {
	e, err := getEvent(ctx, s.read, id)
	return e, translate(err)
}

// querier is what a database and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func getEvent(ctx context.Context, q querier, id string) (*audit.Event, error) {
	return sqlbuild.ScanEvent(q.QueryRowContext(ctx, sqlbuild.SelectEvent(dialect), id))
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, f query.Filter, page pagination.Page) ([]*audit.Event, error) {
	st := dialect.List(f, page)
	return collect(ctx, s.read, st.SQL, st.Args, func(rows *sql.Rows) (*audit.Event, error) {
		return sqlbuild.ScanEvent(rows)
	})
}

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, f query.Filter) (int64, error) {
	st := dialect.Count(f)
	var n int64
	err := s.read.QueryRowContext(ctx, st.SQL, st.Args...).Scan(&n)
	return n, translate(err)
}

// Stats implements store.Store.
func (s *Store) Stats(ctx context.Context, f query.Filter, groupBy []string, interval time.Duration) ([]store.Bucket, error) {
	st := dialect.Stats(f, groupBy, interval)
	return collect(ctx, s.read, st.SQL, st.Args, func(rows *sql.Rows) (store.Bucket, error) {
		return sqlbuild.ScanBucket(rows, groupBy, interval)
	})
}

// SetHold implements store.Store.
func (s *Store) SetHold(ctx context.Context, id string, expected int64, hold audit.Hold) (*audit.Event, error) {
	var updated *audit.Event
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		e, err := getEvent(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := store.CheckVersion(expected, e.Version); err != nil {
			return err
		}
		e.Hold = hold
		e.Version++
		_, err = tx.ExecContext(ctx, "UPDATE events SET on_hold = ?2, hold_reason = ?3, version = ?4 WHERE id = ?1",
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
func collect[T any](ctx context.Context, q querier, statement string, args []any, scan func(*sql.Rows) (T, error)) (out []T, err error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { err = errors.Join(err, translate(rows.Close())) }()
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, translate(err)
		}
		out = append(out, item)
	}
	return out, translate(rows.Err())
}

func isCode(err error, code int) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code() == code
}

// translate maps the driver's errors to those of package store.
func translate(err error) error {
	var e *driver.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	case errors.As(err, &e):
		switch e.Code() & 0xff {
		case codes.SQLITE_BUSY, codes.SQLITE_LOCKED, codes.SQLITE_FULL, codes.SQLITE_IOERR:
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return err
}
