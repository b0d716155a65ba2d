-- The principals of the demo and what they may do.

INSERT INTO tenants (name) VALUES ('demo');

INSERT INTO principals (tenant, username) VALUES
    ('demo', 'sensor-1'),
    ('demo', 'operator-1'),
    ('demo', 'guest');

-- The guest's role, viewer, comes from the listener that lets guests in.
INSERT INTO principal_roles (tenant, username, role) VALUES
    ('demo', 'sensor-1', 'device'),
    ('demo', 'operator-1', 'operator');

INSERT INTO permissions (tenant, subject_kind, subject, action, filter) VALUES
    ('demo', 'role', 'device', 'publish', 'devices/{username}/#'),
    ('demo', 'role', 'device', 'subscribe', 'devices/{username}/commands/#'),
    ('demo', 'role', 'viewer', 'subscribe', 'devices/#'),
    ('demo', 'role', 'viewer', 'subscribe', 'alarms/#'),
    ('demo', 'role', 'operator', 'subscribe', '#'),
    ('demo', 'role', 'operator', 'publish', 'devices/+/commands/#');
