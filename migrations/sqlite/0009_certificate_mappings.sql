-- Who the holders of certificates are, for the step `certificate`. docs/certificates.md explains it.

CREATE TABLE certificate_mappings (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    -- While false, it is as if it were not there.
    enabled      INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    -- The highest counts first; then those with match_field; then the oldest.
    priority     INTEGER NOT NULL DEFAULT 0,
    -- Only certificates that this anchor of a listener vouches for.
    trust_anchor TEXT NOT NULL CHECK (trust_anchor <> ''),
    -- tls: the broker has verified the certificate; proxy: a trusted proxy has.
    vouched_by   TEXT NOT NULL DEFAULT 'tls' CHECK (vouched_by IN ('tls', 'proxy')),
    -- Only certificates with this issuer, as RFC 4514 writes it; NULL: any.
    issuer       TEXT CHECK (issuer <> ''),
    -- Only certificates whose field is match_value; NULL: all.
    match_field  TEXT CHECK (match_field IN
                 ('cn', 'subject', 'serial', 'fingerprint', 'san_dns', 'san_uri', 'san_email', 'san_ip')),
    match_value  TEXT CHECK (length(match_value) BETWEEN 1 AND 1024),
    -- A name, not a template.
    tenant       TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    -- A template, such as {cn}; so are client_id, roles and the values of attributes.
    username     TEXT NOT NULL CHECK (length(username) BETWEEN 1 AND 1024),
    client_id    TEXT CHECK (length(client_id) BETWEEN 1 AND 1024),
    roles        TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(roles) AND json_type(roles) = 'array'),
    attributes   TEXT NOT NULL DEFAULT '{}'
                 CHECK (json_valid(attributes) AND json_type(attributes) = 'object'),
    created_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CONSTRAINT field_and_value_belong_together CHECK ((match_field IS NULL) = (match_value IS NULL)),
    CONSTRAINT serial_is_of_an_issuer CHECK (match_field <> 'serial' OR issuer IS NOT NULL)
) STRICT;
CREATE INDEX certificate_mappings_by_tenant ON certificate_mappings (tenant);

CREATE TRIGGER log_certificate_mappings_insert AFTER INSERT ON certificate_mappings BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'certificate_mappings insert');
END;
CREATE TRIGGER log_certificate_mappings_update AFTER UPDATE ON certificate_mappings BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'certificate_mappings update');
END;
CREATE TRIGGER log_certificate_mappings_delete AFTER DELETE ON certificate_mappings BEGIN
    INSERT INTO change_log (tenant, what) VALUES (OLD.tenant, 'certificate_mappings delete');
END;
