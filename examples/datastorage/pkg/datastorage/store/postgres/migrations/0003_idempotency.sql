CREATE TABLE idempotency_keys (
    client      TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT NOT NULL,
    status      INTEGER NOT NULL,
    location    TEXT NOT NULL,
    body        BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (client, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
