-- How principals show that they are who they say. docs/authentication.md explains it with examples.

-- The kinds of credentials that the broker knows. For the broker to change.
CREATE TABLE credential_kinds (
    kind TEXT PRIMARY KEY NOT NULL
) STRICT;
INSERT INTO credential_kinds (kind) VALUES ('scram-sha-256');

-- What shows that a client is the principal: one of each kind.
CREATE TABLE credentials (
    tenant     TEXT NOT NULL,
    username   TEXT NOT NULL,
    kind       TEXT NOT NULL REFERENCES credential_kinds,
    -- For scram-sha-256: what `hookmq credential scram` prints; PostgreSQL's own password format.
    secret     TEXT NOT NULL CHECK (length(secret) BETWEEN 1 AND 8192),
    -- While 0, it is as if it were not there.
    enabled    INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (tenant, username, kind),
    FOREIGN KEY (tenant, username) REFERENCES principals ON DELETE CASCADE ON UPDATE CASCADE,
    -- The two keys of 44 characters stand at the end. The broker reads it more strictly.
    CONSTRAINT secret_of_scram_sha_256 CHECK (
        kind <> 'scram-sha-256'
        OR (secret GLOB 'SCRAM-SHA-256$[1-9]*:?*$*=:*='
            AND secret NOT GLOB '*[^A-Za-z0-9+/=:$-]*'
            AND substr(secret, -90) GLOB '$*=:*='
            AND substr(secret, -45, 1) = ':'
            AND length(secret) - length(replace(secret, '$', '')) = 2
            AND length(secret) - length(replace(secret, ':', '')) = 2)
    )
) STRICT;

CREATE TRIGGER log_credentials_insert AFTER INSERT ON credentials BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (NEW.tenant, NEW.username, 'credentials insert');
END;
CREATE TRIGGER log_credentials_update AFTER UPDATE ON credentials BEGIN
    INSERT INTO change_log (tenant, username, what)
    SELECT OLD.tenant, OLD.username, 'credentials update'
    UNION SELECT NEW.tenant, NEW.username, 'credentials update';
END;
CREATE TRIGGER log_credentials_delete AFTER DELETE ON credentials BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (OLD.tenant, OLD.username, 'credentials delete');
END;

-- Random keys, made once and shared by all brokers on this database. strangers: what a client is
-- shown whose name is not known.
CREATE TABLE broker_secrets (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL CHECK (length(value) BETWEEN 32 AND 255)
) STRICT;
INSERT INTO broker_secrets (name, value) VALUES ('strangers', hex(randomblob(32)));
