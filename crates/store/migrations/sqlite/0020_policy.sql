-- Roles and bindings, told apart by `kind`: `body` is what they say, as JSON.
CREATE TABLE policies (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- One row that counts the changes of `policies`.
CREATE TABLE policy_revision (
    number BIGINT NOT NULL
);
INSERT INTO policy_revision (number) VALUES (0);
