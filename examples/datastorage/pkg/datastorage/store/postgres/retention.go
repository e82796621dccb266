package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"covtap.example/datastorage/pkg/datastorage/idempotency"
	"covtap.example/datastorage/pkg/datastorage/integrity"
	"covtap.example/datastorage/pkg/datastorage/query"
	"covtap.example/datastorage/pkg/datastorage/retention"
	"covtap.example/datastorage/pkg/datastorage/store"
	"covtap.example/datastorage/pkg/datastorage/store/sqlbuild"
)

// Purge implements retention.Store. Every removed event leaves a tombstone.
// Rows that another purge has locked are left to it.
func (s *Store) Purge(ctx context.Context, f query.Filter, limit int) (int64, error) {
	var count int64
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		st := dialect.Oldest(f, limit)
		st.SQL += " FOR UPDATE SKIP LOCKED"
		doomed, err := collect(ctx, tx, st, func(row pgx.CollectableRow) (sqlbuild.Doomed, error) {
			return sqlbuild.ScanDoomed(row)
		})
		if err != nil {
			return fmt.Errorf("select events to remove: %w", err)
		}
		ids := make([]string, len(doomed))
		rows := make([][]any, len(doomed))
		for i, d := range doomed {
			ids[i] = d.ID
			rows[i] = []any{d.Stream, d.Sequence, d.PrevHash, d.Hash}
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"tombstones"}, []string{"stream", "sequence", "prev_hash", "hash"}, pgx.CopyFromRows(rows))
		if err != nil {
			return fmt.Errorf("leave tombstones: %w", err)
		}
		tag, err := tx.Exec(ctx, "DELETE FROM events WHERE id = ANY($1)", ids)
		if err != nil {
			return fmt.Errorf("delete events: %w", err)
		}
		count = tag.RowsAffected()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

// Links implements integrity.Source.
func (s *Store) Links(ctx context.Context, stream string, after int64, limit int) ([]integrity.Link, error) {
	links, err := collect(ctx, s.pool, dialect.Links(stream, after, limit), func(row pgx.CollectableRow) (integrity.Link, error) {
		return sqlbuild.ScanLink(row)
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
	return collect(ctx, s.pool, sqlbuild.Statement{SQL: "SELECT body FROM retention_policies ORDER BY name"}, scanJSON[retention.Policy])
}

// Policy implements retention.Store.
func (s *Store) Policy(ctx context.Context, name string) (retention.Policy, error) {
	p, err := getPolicy(ctx, s.pool, name, "")
	return p, translate(err)
}

// getPolicy reads a policy; suffix is an SQL locking clause or empty.
func getPolicy(ctx context.Context, q querier, name, suffix string) (retention.Policy, error) {
	var p retention.Policy
	var body []byte
	if err := q.QueryRow(ctx, "SELECT body FROM retention_policies WHERE name = $1"+suffix, name).Scan(&body); err != nil {
		return p, err
	}
	return p, json.Unmarshal(body, &p)
}

// PutPolicy implements retention.Store. Two callers that create the same
// policy at once are told apart by the condition on the version.
func (s *Store) PutPolicy(ctx context.Context, p retention.Policy, expected int64) (retention.Policy, error) {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		current, err := getPolicy(ctx, tx, p.Name, " FOR UPDATE")
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
		tag, err := tx.Exec(ctx, `INSERT INTO retention_policies (name, version, body) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET version = excluded.version, body = excluded.body
			WHERE retention_policies.version = $4`, p.Name, p.Version, string(body), current.Version)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return &store.VersionError{Expected: expected, Current: current.Version + 1}
		}
		return nil
	})
	return p, err
}

// DeletePolicy implements retention.Store.
func (s *Store) DeletePolicy(ctx context.Context, name string, expected int64) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		current, err := getPolicy(ctx, tx, name, " FOR UPDATE")
		if err != nil {
			return err
		}
		if err := store.CheckVersion(expected, current.Version); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM retention_policies WHERE name = $1", name)
		return err
	})
}

// SaveRun implements retention.Store.
func (s *Store) SaveRun(ctx context.Context, r retention.Run) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode retention run %s: %w", r.ID, err)
	}
	_, err = s.pool.Exec(ctx, "INSERT INTO retention_runs (id, started_at, body) VALUES ($1, $2, $3)",
		r.ID, r.StartedAt.UnixMicro(), string(body))
	return translate(err)
}

// Run implements retention.Store.
func (s *Store) Run(ctx context.Context, id string) (retention.Run, error) {
	var r retention.Run
	var body []byte
	if err := s.pool.QueryRow(ctx, "SELECT body FROM retention_runs WHERE id = $1", id).Scan(&body); err != nil {
		return r, translate(err)
	}
	return r, json.Unmarshal(body, &r)
}

// Runs implements retention.Store.
func (s *Store) Runs(ctx context.Context, limit int) ([]retention.Run, error) {
	return collect(ctx, s.pool, sqlbuild.Statement{
		SQL:  "SELECT body FROM retention_runs ORDER BY started_at DESC, id DESC LIMIT $1",
		Args: []any{limit},
	}, scanJSON[retention.Run])
}

// Recall implements idempotency.Store.
func (s *Store) Recall(ctx context.Context, client, key string, after time.Time) (*idempotency.Record, error) {
	r := idempotency.Record{Client: client, Key: key}
	var created int64
	err := s.pool.QueryRow(ctx, `SELECT fingerprint, status, location, body, created_at FROM idempotency_keys
		WHERE client = $1 AND key = $2 AND created_at > $3`, client, key, after.UnixMicro()).
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

// Remember implements idempotency.Store. Another replica may have answered
// the same key meanwhile; its answer stays.
func (s *Store) Remember(ctx context.Context, r idempotency.Record, forgetBefore time.Time) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM idempotency_keys WHERE created_at <= $1", forgetBefore.UnixMicro()); err != nil {
			return fmt.Errorf("forget old idempotency keys: %w", err)
		}
		_, err := tx.Exec(ctx, `INSERT INTO idempotency_keys (client, key, fingerprint, status, location, body, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			r.Client, r.Key, r.Fingerprint, r.Status, r.Location, r.Body, r.CreatedAt.UnixMicro())
		return err
	})
}

// scanJSON reads a row of one JSON column.
func scanJSON[T any](row pgx.CollectableRow) (T, error) {
	var out T
	var body []byte
	if err := row.Scan(&body); err != nil {
		return out, err
	}
	return out, json.Unmarshal(body, &out)
}
