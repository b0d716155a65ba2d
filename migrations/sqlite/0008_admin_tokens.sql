-- Tokens for the admin API that are good for one tenant, while that is enabled. Each request looks its
-- token up: one that is deleted is good no more. docs/tenants.md says what they open.

CREATE TABLE admin_tokens (
    -- SHA-256 of the whole token, in hexadecimal. The token itself is shown once, when it is made.
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64 AND hash NOT GLOB '*[^0-9a-f]*'),
    tenant     TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    -- For operators: it is on the audit record.
    name       TEXT NOT NULL
               CHECK (length(name) BETWEEN 1 AND 255
                      AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    -- From then on it is not good; NULL: for good. Whatever SQLite takes for a time, in UTC.
    expires_at TEXT CHECK (expires_at IS NULL OR strftime('%s', expires_at) IS NOT NULL),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (tenant, name)
) STRICT;
