CREATE TABLE retention_policies (
    name    TEXT COLLATE "C" PRIMARY KEY,
    version BIGINT NOT NULL,
    body    JSON NOT NULL
);

CREATE TABLE retention_runs (
    id         TEXT COLLATE "C" PRIMARY KEY,
    started_at BIGINT NOT NULL,
    body       JSON NOT NULL
);
