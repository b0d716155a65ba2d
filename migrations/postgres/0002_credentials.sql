-- How principals show that they are who they say. docs/authentication.md explains it with examples.

CREATE TABLE credential_kinds (
    kind text PRIMARY KEY
);
COMMENT ON TABLE credential_kinds IS 'The kinds of credentials that the broker knows. For the broker to change.';
INSERT INTO credential_kinds (kind) VALUES ('scram-sha-256');

CREATE TABLE credentials (
    tenant     text NOT NULL,
    username   text NOT NULL,
    kind       text NOT NULL REFERENCES credential_kinds,
    secret     text NOT NULL CHECK (length(secret) BETWEEN 1 AND 8192),
    enabled    boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, username, kind),
    FOREIGN KEY (tenant, username) REFERENCES principals ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT secret_of_scram_sha_256 CHECK (
        kind <> 'scram-sha-256'
        OR secret ~ '^SCRAM-SHA-256\$[1-9][0-9]{0,9}:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$'
    )
);
COMMENT ON TABLE credentials IS 'What shows that a client is the principal: one of each kind.';
COMMENT ON COLUMN credentials.secret IS 'For scram-sha-256: what `hookmq credential scram` prints; PostgreSQL''s own password format.';
COMMENT ON COLUMN credentials.enabled IS 'While false, it is as if it were not there.';

CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON credentials
    FOR EACH ROW EXECUTE FUNCTION hookmq_log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON credentials
    FOR EACH STATEMENT EXECUTE FUNCTION hookmq_log_change();

CREATE TABLE broker_secrets (
    name  text PRIMARY KEY,
    value text NOT NULL CHECK (length(value) BETWEEN 32 AND 255)
);
COMMENT ON TABLE broker_secrets IS 'Random keys, made once and shared by all brokers on this database. strangers: what a client is shown whose name is not known.';
INSERT INTO broker_secrets (name, value)
VALUES ('strangers', gen_random_uuid()::text || gen_random_uuid()::text);
