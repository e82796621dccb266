package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"covtap.example/datastorage/pkg/datastorage/idempotency"
	"covtap.example/datastorage/pkg/datastorage/integrity"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/retention"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/store/sqlbuild"
)

// Purge implements retention.Store. Every removed event leaves a tombstone.
func (s *Store) Purge(ctx context.Context, f query.Filter, limit int) (int64, error) {
	var count int64
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		count = 0
		st := dialect.Oldest(f, limit)
		doomed, err := collect(ctx, tx, st.SQL, st.Args, func(rows *sql.Rows) (sqlbuild.Doomed, error) {
			return sqlbuild.ScanDoomed(rows)
		})
		if err != nil {
			return fmt.Errorf("select events to remove: %w", err)
		}
		for _, d := range doomed {
			_, err := tx.ExecContext(ctx, "INSERT INTO tombstones (stream, sequence, prev_hash, hash) VALUES (?1, ?2, ?3, ?4)",
				d.Stream, d.Sequence, d.PrevHash, d.Hash)
			if err != nil {
				return fmt.Errorf("leave tombstone of event %s: %w", d.ID, err)
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM events WHERE id = ?1", d.ID); err != nil {
				return fmt.Errorf("delete event %s: %w", d.ID, err)
			}
			count++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

// Links implements integrity.Source.
func (s *Store) Links(ctx context.Context, stream string, after int64, limit int) ([]integrity.Link, error) {
	st := dialect.Links(stream, after, limit)
	links, err := collect(ctx, s.read, st.SQL, st.Args, func(rows *sql.Rows) (integrity.Link, error) {
		return sqlbuild.ScanLink(rows)
	})
	if err != nil {
		return nil, err
	}
	for i := range links {
		if links[i].Event == nil {
			continue
		}
		if links[i].Event, err = s.Get(ctx, links[i].Event.ID); err != nil {
			return nil, err
		}
	}
	return links, nil
}

// Policies implements retention.Store.
func (s *Store) Policies(ctx context.Context) ([]retention.Policy, error) {
	return collect(ctx, s.read, "SELECT body FROM retention_policies ORDER BY name", nil, scanJSON[retention.Policy])
}

// Policy implements retention.Store.
func (s *Store) Policy(ctx context.Context, name string) (retention.Policy, error) {
	p, err := getPolicy(ctx, s.read, name)
	return p, translate(err)
}

func getPolicy(ctx context.Context, q querier, name string) (retention.Policy, error) {
	var p retention.Policy
	var body []byte
	if err := q.QueryRowContext(ctx, "SELECT body FROM retention_policies WHERE name = ?1", name).Scan(&body); err != nil {
		return p, err
	}
	return p, json.Unmarshal(body, &p)
}

// PutPolicy implements retention.Store.
func (s *Store) PutPolicy(ctx context.Context, p retention.Policy, expected int64) (retention.Policy, error) {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		current, err := getPolicy(ctx, tx, p.Name)
		if err != nil && translate(err) != store.ErrNotFound {
			return err
		}
		if err := store.CheckVersion(expected, current.Version); err != nil {
			return err
		}
		p.Version = current.Version + 1
		body, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encode policy %s: %w", p.Name, err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO retention_policies (name, version, body) VALUES (?1, ?2, ?3)
			ON CONFLICT (name) DO UPDATE SET version = excluded.version, body = excluded.body`, p.Name, p.Version, string(body))
		return err
	})
	return p, err
}

// DeletePolicy implements retention.Store.
func (s *Store) DeletePolicy(ctx context.Context, name string, expected int64) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		current, err := getPolicy(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := store.CheckVersion(expected, current.Version); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM retention_policies WHERE name = ?1", name)
		return err
	})
}

// SaveRun implements retention.Store.
func (s *Store) SaveRun(ctx context.Context, r retention.Run) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode retention run %s: %w", r.ID, err)
	}
	_, err = s.write.ExecContext(ctx, "INSERT INTO retention_runs (id, started_at, body) VALUES (?1, ?2, ?3)",
		r.ID, r.StartedAt.UnixMicro(), string(body))
	return translate(err)
}

// Run implements retention.Store.
func (s *Store) Run(ctx context.Context, id string) (retention.Run, error) {
	var r retention.Run
	var body []byte
	if err := s.read.QueryRowContext(ctx, "SELECT body FROM retention_runs WHERE id = ?1", id).Scan(&body); err != nil {
		return r, translate(err)
	}
	return r, json.Unmarshal(body, &r)
}

// Runs implements retention.Store.
func (s *Store) Runs(ctx context.Context, limit int) ([]retention.Run, error) {
	return collect(ctx, s.read, "SELECT body FROM retention_runs ORDER BY started_at DESC, id DESC LIMIT ?1", []any{limit}, scanJSON[retention.Run])
}

// Recall implements idempotency.Store.
func (s *Store) Recall(ctx context.Context, client, key string, after time.Time) (*idempotency.Record, error) {
	r := idempotency.Record{Client: client, Key: key}
	var created int64
	err := s.read.QueryRowContext(ctx, `SELECT fingerprint, status, location, body, created_at FROM idempotency_keys
		WHERE client = ?1 AND key = ?2 AND created_at > ?3`, client, key, after.UnixMicro()).
		Scan(&r.Fingerprint, &r.Status, &r.Location, &r.Body, &created)
	switch err = translate(err); {
	case err == store.ErrNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	r.CreatedAt = time.UnixMicro(created).UTC()
	return &r, nil
}

// Remember implements idempotency.Store.
func (s *Store) Remember(ctx context.Context, r idempotency.Record, forgetBefore time.Time) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM idempotency_keys WHERE created_at <= ?1", forgetBefore.UnixMicro()); err != nil {
			return fmt.Errorf("forget old idempotency keys: %w", err)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO idempotency_keys (client, key, fingerprint, status, location, body, created_at)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
			r.Client, r.Key, r.Fingerprint, r.Status, r.Location, r.Body, r.CreatedAt.UnixMicro())
		return err
	})
}

// scanJSON reads a row of one JSON column.
func scanJSON[T any](rows *sql.Rows) (T, error) {
	var out T
	var body []byte
	if err := rows.Scan(&body); err != nil {
		return out, err
	}
	return out, json.Unmarshal(body, &out)
}
