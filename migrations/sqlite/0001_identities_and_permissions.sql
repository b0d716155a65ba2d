-- Who may connect, and what they may do. docs/permissions.md explains it with examples.
-- These tables are an interface: change them with any SQL client, the broker notices by itself.
-- (The sqlite3 shell needs `PRAGMA foreign_keys = ON;` first.)

-- Name spaces. Deleting one deletes all that belongs to it.
CREATE TABLE tenants (
    name       TEXT PRIMARY KEY NOT NULL
               CHECK (length(name) BETWEEN 1 AND 255
                      AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    -- While 0, none of its principals may connect or do anything.
    enabled    INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    -- Facts about each of its principals, such as {"site": "north"}; permissions name them as
    -- {attribute:site}.
    attributes TEXT NOT NULL DEFAULT '{}'
               CHECK (CASE WHEN json_valid(attributes) THEN json_type(attributes) = 'object' ELSE 0 END),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- Devices, services and people, by the name that a connect step gives them.
CREATE TABLE principals (
    tenant     TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    username   TEXT NOT NULL
               CHECK (length(username) BETWEEN 1 AND 1024
                      AND username NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    -- While 0, it may not connect or do anything.
    enabled    INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    -- Facts about it; they stand before those of the tenant.
    attributes TEXT NOT NULL DEFAULT '{}'
               CHECK (CASE WHEN json_valid(attributes) THEN json_type(attributes) = 'object' ELSE 0 END),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (tenant, username)
) STRICT;

-- The roles of each principal. A role exists by being named.
CREATE TABLE principal_roles (
    tenant   TEXT NOT NULL,
    username TEXT NOT NULL,
    role     TEXT NOT NULL
             CHECK (length(role) BETWEEN 1 AND 255
                    AND role NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    PRIMARY KEY (tenant, username, role),
    FOREIGN KEY (tenant, username) REFERENCES principals ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;

-- What is allowed and denied. What no permission allows is denied.
CREATE TABLE permissions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant       TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    -- Whom it is for. client_id counts only where a connect step bound the client id.
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('principal', 'role', 'client_id', 'everyone')),
    -- The username, the role or the client id; empty for everyone.
    subject      TEXT NOT NULL DEFAULT '' CHECK ((subject = '') = (subject_kind = 'everyone')),
    action       TEXT NOT NULL CHECK (action IN ('publish', 'subscribe', 'receive')),
    -- A topic filter. Placeholders: {username}, {client_id}, {tenant}, {attribute:NAME}.
    filter       TEXT NOT NULL
                 CONSTRAINT filter_is_a_topic_filter CHECK (
                     length(CAST(filter AS BLOB)) BETWEEN 1 AND 65535
                     AND '/' || filter || '/' NOT GLOB '*[^/][+#]*'
                     AND '/' || filter || '/' NOT GLOB '*[+#][^/]*'
                     AND filter NOT GLOB '*#?*'
                     AND substr(filter, 1, 7) <> '$share/'
                 )
                 -- Without the plain placeholders, each brace that is left opens or closes one
                 -- named attribute. (A slash inside an attribute's name escapes this check; the
                 -- broker ignores such an allow, and takes such a denial to deny everything.)
                 CONSTRAINT filter_has_known_placeholders CHECK (
                     replace(replace(replace(replace(filter,
                         '{username}', ''), '{client_id}', ''), '{tenant}', ''), '{attribute:', '')
                     NOT GLOB '*{*'
                     AND length(replace(replace(replace(filter,
                         '{username}', ''), '{client_id}', ''), '{tenant}', ''))
                         - length(replace(replace(replace(replace(filter,
                         '{username}', ''), '{client_id}', ''), '{tenant}', ''), '}', ''))
                         = (length(filter) - length(replace(filter, '{attribute:', ''))) / 11
                     AND filter NOT GLOB '*{attribute:[{}/+#]*'
                 ),
    effect       TEXT NOT NULL DEFAULT 'allow' CHECK (effect IN ('allow', 'deny')),
    -- The highest counts first; then the most specific filter; then deny before allow.
    priority     INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -2147483648 AND 2147483647),
    -- Of an allow: a publish above it is denied, a subscription is granted no more.
    max_qos      INTEGER NOT NULL DEFAULT 2 CHECK (max_qos BETWEEN 0 AND 2),
    -- Of an allow to publish: whether the message may be retained.
    allow_retain INTEGER NOT NULL DEFAULT 1 CHECK (allow_retain IN (0, 1)),
    -- What the client notices when this row denies it: refuse (reason code), acknowledge (nothing:
    -- it is dropped) or disconnect.
    on_denial    TEXT NOT NULL DEFAULT 'refuse' CHECK (on_denial IN ('refuse', 'acknowledge', 'disconnect')),
    created_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE INDEX permissions_by_subject ON permissions (tenant, subject_kind, subject);

-- Written by triggers, read and trimmed by the broker. Without a tenant: all are concerned; without
-- a username: the whole tenant.
CREATE TABLE change_log (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    tenant   TEXT,
    username TEXT,
    what     TEXT NOT NULL
) STRICT;

CREATE TRIGGER log_tenants_insert AFTER INSERT ON tenants BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.name, 'tenants insert');
END;
CREATE TRIGGER log_tenants_update AFTER UPDATE ON tenants BEGIN
    INSERT INTO change_log (tenant, what)
    SELECT OLD.name, 'tenants update' UNION SELECT NEW.name, 'tenants update';
END;
CREATE TRIGGER log_tenants_delete AFTER DELETE ON tenants BEGIN
    INSERT INTO change_log (tenant, what) VALUES (OLD.name, 'tenants delete');
END;

CREATE TRIGGER log_principals_insert AFTER INSERT ON principals BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (NEW.tenant, NEW.username, 'principals insert');
END;
CREATE TRIGGER log_principals_update AFTER UPDATE ON principals BEGIN
    INSERT INTO change_log (tenant, username, what)
    SELECT OLD.tenant, OLD.username, 'principals update'
    UNION SELECT NEW.tenant, NEW.username, 'principals update';
END;
CREATE TRIGGER log_principals_delete AFTER DELETE ON principals BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (OLD.tenant, OLD.username, 'principals delete');
END;

CREATE TRIGGER log_principal_roles_insert AFTER INSERT ON principal_roles BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (NEW.tenant, NEW.username, 'principal_roles insert');
END;
CREATE TRIGGER log_principal_roles_update AFTER UPDATE ON principal_roles BEGIN
    INSERT INTO change_log (tenant, username, what)
    SELECT OLD.tenant, OLD.username, 'principal_roles update'
    UNION SELECT NEW.tenant, NEW.username, 'principal_roles update';
END;
CREATE TRIGGER log_principal_roles_delete AFTER DELETE ON principal_roles BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (OLD.tenant, OLD.username, 'principal_roles delete');
END;

CREATE TRIGGER log_permissions_insert AFTER INSERT ON permissions BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (NEW.tenant, iif(NEW.subject_kind = 'principal', NEW.subject, NULL), 'permissions insert');
END;
CREATE TRIGGER log_permissions_update AFTER UPDATE ON permissions BEGIN
    INSERT INTO change_log (tenant, username, what)
    SELECT OLD.tenant, iif(OLD.subject_kind = 'principal', OLD.subject, NULL), 'permissions update'
    UNION
    SELECT NEW.tenant, iif(NEW.subject_kind = 'principal', NEW.subject, NULL), 'permissions update';
END;
CREATE TRIGGER log_permissions_delete AFTER DELETE ON permissions BEGIN
    INSERT INTO change_log (tenant, username, what)
    VALUES (OLD.tenant, iif(OLD.subject_kind = 'principal', OLD.subject, NULL), 'permissions delete');
END;

-- A principal's own permissions follow its name and go with it: whoever gets the name later starts
-- with none.
CREATE TRIGGER carry_permissions_away AFTER DELETE ON principals BEGIN
    DELETE FROM permissions
    WHERE tenant = OLD.tenant AND subject_kind = 'principal' AND subject = OLD.username;
END;
CREATE TRIGGER carry_permissions_along AFTER UPDATE OF tenant, username ON principals
WHEN (OLD.tenant, OLD.username) IS NOT (NEW.tenant, NEW.username) BEGIN
    UPDATE permissions SET tenant = NEW.tenant, subject = NEW.username
    WHERE tenant = OLD.tenant AND subject_kind = 'principal' AND subject = OLD.username;
END;
