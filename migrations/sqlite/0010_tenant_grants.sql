-- Which principals reach into other tenants than their own. docs/tenants.md explains it with examples.

CREATE TABLE tenant_grants (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The principal who is granted something, of the tenant that it belongs to.
    tenant     TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    username   TEXT NOT NULL CHECK (length(username) BETWEEN 1 AND 1024),
    -- The tenant that it reaches. A topic has its name as one level.
    target     TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE
               CHECK (target NOT GLOB '*[/+#]*'),
    -- Topic filters of the target's topics, each a JSON array: where it may publish, and to what it may
    -- subscribe. None of them begins with $.
    publish    TEXT NOT NULL DEFAULT '[]'
               CHECK (json_valid(publish) AND json_type(publish) = 'array'),
    subscribe  TEXT NOT NULL DEFAULT '[]'
               CHECK (json_valid(subscribe) AND json_type(subscribe) = 'array'),
    -- For operators: it is on the audit record.
    granted_by TEXT NOT NULL DEFAULT '' CHECK (length(granted_by) <= 255),
    granted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- From then on it does not count; NULL: for good. Whatever SQLite takes for a time, in UTC.
    expires_at TEXT CHECK (expires_at IS NULL OR strftime('%s', expires_at) IS NOT NULL),
    CONSTRAINT reaches_another_tenant CHECK (tenant <> target),
    CONSTRAINT grants_something CHECK (json_array_length(publish) + json_array_length(subscribe) > 0)
) STRICT;
CREATE INDEX tenant_grants_by_target ON tenant_grants (target);
CREATE INDEX tenant_grants_by_tenant ON tenant_grants (tenant);

CREATE TRIGGER log_tenant_grants_insert AFTER INSERT ON tenant_grants BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'tenant_grants insert');
END;
CREATE TRIGGER log_tenant_grants_update AFTER UPDATE ON tenant_grants BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'tenant_grants update');
END;
CREATE TRIGGER log_tenant_grants_delete AFTER DELETE ON tenant_grants BEGIN
    INSERT INTO change_log (tenant, what) VALUES (OLD.tenant, 'tenant_grants delete');
END;
