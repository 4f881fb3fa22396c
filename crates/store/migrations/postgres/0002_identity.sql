-- `details` is a JSON object of what else is known of a user.
ALTER TABLE users ADD COLUMN details TEXT NOT NULL DEFAULT '{}';

-- Sessions, keys and the like: what a body holds is known to the Authenticator alone.
CREATE TABLE records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);

-- One row: counts the changes of users and of those records that all processes have to know at once.
CREATE TABLE identity_revision (
    number BIGINT NOT NULL
);

INSERT INTO identity_revision (number) VALUES (1);
