CREATE TABLE retention_policies (
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL
);

CREATE TABLE retention_runs (
    id         TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL,
    body       TEXT NOT NULL
);
