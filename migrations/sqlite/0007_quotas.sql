-- What each tenant may use at most. NULL: no bound beyond the broker's own. The defaults of the
-- configuration are for tenants without a row; where no hook_ column has a value, its section budgets
-- counts. docs/tenants.md says what happens at each bound.

CREATE TABLE quotas (
    tenant              TEXT PRIMARY KEY NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    -- Clients connected at a time. One that takes its own connection over is let in.
    connections         INTEGER CHECK (connections BETWEEN 0 AND 1000000000000000),
    -- Clients that are let in per second.
    connects_per_s      INTEGER CHECK (connects_per_s BETWEEN 1 AND 1000000000000),
    -- PUBLISH packets from its clients, all together.
    messages_in_per_s   INTEGER CHECK (messages_in_per_s BETWEEN 1 AND 1000000000000),
    -- Bytes of all packets from its clients, without TLS and WebSocket.
    bytes_in_per_s      INTEGER CHECK (bytes_in_per_s BETWEEN 1 AND 1000000000000),
    -- PUBLISH packets to its clients, all together.
    messages_out_per_s  INTEGER CHECK (messages_out_per_s BETWEEN 1 AND 1000000000000),
    -- Bytes of PUBLISH packets to its clients, without TLS and WebSocket.
    bytes_out_per_s     INTEGER CHECK (bytes_out_per_s BETWEEN 1 AND 1000000000000),
    -- Sessions, connected or kept.
    sessions            INTEGER CHECK (sessions BETWEEN 0 AND 1000000000000000),
    -- Subscriptions of all sessions; a shared one counts once, whatever its members.
    subscriptions       INTEGER CHECK (subscriptions BETWEEN 0 AND 1000000000000000),
    -- Retained messages.
    retained_messages   INTEGER CHECK (retained_messages BETWEEN 0 AND 1000000000000000),
    -- Bytes of retained messages, with topics and properties.
    retained_bytes      INTEGER CHECK (retained_bytes BETWEEN 0 AND 1000000000000000),
    -- Bytes that wait for its sessions, all together.
    queued_bytes        INTEGER CHECK (queued_bytes BETWEEN 0 AND 1000000000000000),
    -- Calls of plugins and rules.
    hook_calls_per_s    INTEGER CHECK (hook_calls_per_s BETWEEN 1 AND 4294967295),
    -- Milliseconds that its plugins and rules run, on all workers together.
    hook_busy_ms_per_s  INTEGER CHECK (hook_busy_ms_per_s BETWEEN 1 AND 4294967295),
    -- Messages that its plugins and rules make.
    hook_emitted_per_s  INTEGER CHECK (hook_emitted_per_s BETWEEN 1 AND 4294967295)
) STRICT;

CREATE TRIGGER log_quotas_insert AFTER INSERT ON quotas BEGIN
    INSERT INTO change_log (tenant, what) VALUES (NEW.tenant, 'quotas insert');
END;
CREATE TRIGGER log_quotas_update AFTER UPDATE ON quotas BEGIN
    INSERT INTO change_log (tenant, what)
    SELECT OLD.tenant, 'quotas update' UNION SELECT NEW.tenant, 'quotas update';
END;
CREATE TRIGGER log_quotas_delete AFTER DELETE ON quotas BEGIN
    INSERT INTO change_log (tenant, what) VALUES (OLD.tenant, 'quotas delete');
END;
