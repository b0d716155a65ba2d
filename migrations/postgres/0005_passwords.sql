-- Passwords of CONNECT. docs/authentication.md names the forms of their hashes.

INSERT INTO credential_kinds (kind) VALUES ('password');

-- The broker reads it more strictly. What it must never be is the password itself.
ALTER TABLE credentials ADD CONSTRAINT secret_of_password CHECK (
    kind <> 'password'
    OR secret ~ '^(\$(argon2(id|i|d)|2[abxy]|6|7)\$|PBKDF2\$sha(256|512)\$|SCRAM-SHA-256\$)[A-Za-z0-9+/=.,:$]+$'
);
COMMENT ON COLUMN credentials.secret IS 'For scram-sha-256: what `hookmq credential scram` prints; PostgreSQL''s own password format. For password: what `hookmq credential password` prints, bcrypt, and what Mosquitto and mosquitto-go-auth keep.';
