-- Who is kept out, connected or not, whatever permissions say. docs/abuse.md explains it with examples.

CREATE TABLE bans (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- NULL: of every tenant. A tenant needs no row in tenants to be banned.
    tenant     TEXT CHECK (tenant <> ''),
    kind       TEXT NOT NULL CHECK (kind IN ('client_id', 'principal', 'tenant', 'address')),
    -- The client id, the username, or the address or network (CIDR); empty for a tenant.
    subject    TEXT NOT NULL DEFAULT '' CHECK (length(CAST(subject AS BLOB)) <= 65535),
    -- For operators: it is logged, and clients are not told.
    reason     TEXT NOT NULL DEFAULT '' CHECK (length(reason) <= 255),
    -- From then on it does not count; NULL: for good. Whatever SQLite takes for a time, in UTC.
    expires_at TEXT CHECK (expires_at IS NULL OR strftime('%s', expires_at) IS NOT NULL),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- The broker reads an address more strictly, and warns of one that it cannot read.
    CONSTRAINT subject_fits_kind CHECK (CASE kind
        WHEN 'tenant' THEN subject = '' AND tenant IS NOT NULL
        WHEN 'address' THEN subject GLOB '*[.:]*' AND subject NOT GLOB '*[^0-9A-Fa-f.:/]*'
        ELSE subject <> ''
    END)
) STRICT;

CREATE TRIGGER log_bans_insert AFTER INSERT ON bans BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'bans insert');
END;
CREATE TRIGGER log_bans_update AFTER UPDATE ON bans BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'bans update');
END;
CREATE TRIGGER log_bans_delete AFTER DELETE ON bans BEGIN
    INSERT INTO change_log (tenant, what) VALUES (OLD.tenant, 'bans delete');
END;
