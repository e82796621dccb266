-- Times are microseconds since 1970 in UTC.
CREATE TABLE streams (
    name          TEXT PRIMARY KEY,
    last_sequence INTEGER NOT NULL,
    last_hash     TEXT NOT NULL
);

CREATE TABLE events (
    id             TEXT PRIMARY KEY,
    stream         TEXT NOT NULL REFERENCES streams (name),
    sequence       INTEGER NOT NULL,
    occurred_at    INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    actor_type     TEXT NOT NULL,
    actor_id       TEXT NOT NULL,
    actor_ip       TEXT NOT NULL,
    action         TEXT NOT NULL,
    resource_type  TEXT NOT NULL,
    resource_id    TEXT NOT NULL,
    namespace      TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    severity       TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    message        TEXT NOT NULL,
    labels         TEXT NOT NULL,
    payload        TEXT,
    prev_hash      TEXT NOT NULL,
    hash           TEXT NOT NULL,
    on_hold        INTEGER NOT NULL,
    hold_reason    TEXT NOT NULL,
    version        INTEGER NOT NULL,
    UNIQUE (stream, sequence)
);

CREATE INDEX events_by_time ON events (occurred_at, id);
CREATE INDEX events_by_actor ON events (actor_id, occurred_at);
CREATE INDEX events_by_resource ON events (resource_type, resource_id, occurred_at);
CREATE INDEX events_by_correlation ON events (correlation_id) WHERE correlation_id <> '';

-- What remains of an event that retention removed, so that the chain of its
-- stream can still be followed.
CREATE TABLE tombstones (
    stream    TEXT NOT NULL REFERENCES streams (name),
    sequence  INTEGER NOT NULL,
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL,
    PRIMARY KEY (stream, sequence)
);
