-- Tokens for the admin API that are good for one tenant. docs/tenants.md says what they open.

CREATE TABLE admin_tokens (
    hash       text PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    tenant     text NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 255 AND name !~ '[\x01-\x1f\x7f]'),
    expires_at timestamptz CHECK (isfinite(expires_at)),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, name)
);
COMMENT ON TABLE admin_tokens IS 'Tokens for the admin API that are good for one tenant, while that is enabled. Each request looks its token up: one that is deleted is good no more.';
COMMENT ON COLUMN admin_tokens.hash IS 'SHA-256 of the whole token, in hexadecimal. The token itself is shown once, when it is made.';
COMMENT ON COLUMN admin_tokens.name IS 'For operators: it is on the audit record.';
COMMENT ON COLUMN admin_tokens.expires_at IS 'From then on it is not good; null: for good.';
