-- Times are microseconds since 1970 in UTC.
CREATE TABLE streams (
    name          TEXT COLLATE "C" PRIMARY KEY,
    last_sequence BIGINT NOT NULL,
    last_hash     TEXT NOT NULL
);

CREATE TABLE events (
    id             TEXT COLLATE "C" PRIMARY KEY,
    stream         TEXT COLLATE "C" NOT NULL REFERENCES streams (name),
    sequence       BIGINT NOT NULL,
    occurred_at    BIGINT NOT NULL,
    recorded_at    BIGINT NOT NULL,
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
    labels         JSONB NOT NULL,
    payload        JSON,
    prev_hash      TEXT NOT NULL,
    hash           TEXT NOT NULL,
    on_hold        BOOLEAN NOT NULL,
    hold_reason    TEXT NOT NULL,
    version        BIGINT NOT NULL,
    UNIQUE (stream, sequence)
);

CREATE INDEX events_by_time ON events (occurred_at, id);
CREATE INDEX events_by_actor ON events (actor_id, occurred_at);
CREATE INDEX events_by_resource ON events (resource_type, resource_id, occurred_at);
CREATE INDEX events_by_correlation ON events (correlation_id) WHERE correlation_id <> '';

-- What remains of an event that retention removed, so that the chain of its
-- stream can still be followed.
CREATE TABLE tombstones (
    stream    TEXT COLLATE "C" NOT NULL REFERENCES streams (name),
    sequence  BIGINT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL,
    PRIMARY KEY (stream, sequence)
);
