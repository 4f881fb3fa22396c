-- A row keeps the whole thing as JSON in `body`; beside it are only the columns by which it is found.

CREATE TABLE services (
    id TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- `position` counts up within a service: the order in which its versions were first asked for.
CREATE TABLE versions (
    service_id TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    position BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (service_id, id),
    UNIQUE (service_id, position)
);

-- `roles` is a JSON array of names.
CREATE TABLE users (
    username TEXT NOT NULL PRIMARY KEY,
    password_hash TEXT NOT NULL,
    roles TEXT NOT NULL
);

-- BLOB is BYTEA in PostgreSQL; everything else here is the same there.
CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
