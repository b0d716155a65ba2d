-- What each tenant may use at most. docs/tenants.md says what happens at each bound.

CREATE TABLE quotas (
    tenant              text PRIMARY KEY REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    connections         bigint CHECK (connections BETWEEN 0 AND 1000000000000000),
    connects_per_s      bigint CHECK (connects_per_s BETWEEN 1 AND 1000000000000),
    messages_in_per_s   bigint CHECK (messages_in_per_s BETWEEN 1 AND 1000000000000),
    bytes_in_per_s      bigint CHECK (bytes_in_per_s BETWEEN 1 AND 1000000000000),
    messages_out_per_s  bigint CHECK (messages_out_per_s BETWEEN 1 AND 1000000000000),
    bytes_out_per_s     bigint CHECK (bytes_out_per_s BETWEEN 1 AND 1000000000000),
    sessions            bigint CHECK (sessions BETWEEN 0 AND 1000000000000000),
    subscriptions       bigint CHECK (subscriptions BETWEEN 0 AND 1000000000000000),
    retained_messages   bigint CHECK (retained_messages BETWEEN 0 AND 1000000000000000),
    retained_bytes      bigint CHECK (retained_bytes BETWEEN 0 AND 1000000000000000),
    queued_bytes        bigint CHECK (queued_bytes BETWEEN 0 AND 1000000000000000),
    hook_calls_per_s    bigint CHECK (hook_calls_per_s BETWEEN 1 AND 4294967295),
    hook_busy_ms_per_s  bigint CHECK (hook_busy_ms_per_s BETWEEN 1 AND 4294967295),
    hook_emitted_per_s  bigint CHECK (hook_emitted_per_s BETWEEN 1 AND 4294967295)
);
COMMENT ON TABLE quotas IS 'What each tenant may use at most. Null: no bound beyond the broker''s own. The defaults of the configuration are for tenants without a row; where no hook_ column has a value, its section budgets counts.';
COMMENT ON COLUMN quotas.connections IS 'Clients connected at a time. One that takes its own connection over is let in.';
COMMENT ON COLUMN quotas.connects_per_s IS 'Clients that are let in per second.';
COMMENT ON COLUMN quotas.messages_in_per_s IS 'PUBLISH packets from its clients, all together.';
COMMENT ON COLUMN quotas.bytes_in_per_s IS 'Bytes of all packets from its clients, without TLS and WebSocket.';
COMMENT ON COLUMN quotas.messages_out_per_s IS 'PUBLISH packets to its clients, all together.';
COMMENT ON COLUMN quotas.bytes_out_per_s IS 'Bytes of PUBLISH packets to its clients, without TLS and WebSocket.';
COMMENT ON COLUMN quotas.sessions IS 'Sessions, connected or kept.';
COMMENT ON COLUMN quotas.subscriptions IS 'Subscriptions of all sessions; a shared one counts once, whatever its members.';
COMMENT ON COLUMN quotas.retained_messages IS 'Retained messages.';
COMMENT ON COLUMN quotas.retained_bytes IS 'Bytes of retained messages, with topics and properties.';
COMMENT ON COLUMN quotas.queued_bytes IS 'Bytes that wait for its sessions, all together.';
COMMENT ON COLUMN quotas.hook_calls_per_s IS 'Calls of plugins and rules.';
COMMENT ON COLUMN quotas.hook_busy_ms_per_s IS 'Milliseconds that its plugins and rules run, on all workers together.';
COMMENT ON COLUMN quotas.hook_emitted_per_s IS 'Messages that its plugins and rules make.';

CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON quotas
    FOR EACH ROW EXECUTE FUNCTION hookmq_log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON quotas
    FOR EACH STATEMENT EXECUTE FUNCTION hookmq_log_change();
