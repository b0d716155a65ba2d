-- ?1 principals as JSON, [tenant, username] each; ?2 subjects, [tenant, kind, name] each; ?3 limit
-- CROSS: in this order, for each principal and each subject by the index.
WITH asked (place, tenant, username) AS MATERIALIZED (
    SELECT key + 1, value ->> 0, value ->> 1 FROM json_each(?1)
), subjects (tenant, kind, name) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2)
    UNION
    SELECT a.tenant, 'role', r.role
    FROM asked AS a
    CROSS JOIN principal_roles AS r ON r.tenant = a.tenant AND r.username = a.username
)
SELECT
    a.place AS place,
    NULL AS tenant,
    t.enabled AS tenant_enabled,
    p.enabled AS principal_enabled,
    t.attributes AS tenant_attributes,
    p.attributes AS principal_attributes,
    (
        SELECT json_group_array(role) FROM principal_roles
        WHERE tenant = a.tenant AND username = a.username
    ) AS roles,
    NULL AS id, NULL AS subject_kind, NULL AS subject, NULL AS action, NULL AS filter,
    NULL AS effect, NULL AS priority, NULL AS max_qos, NULL AS allow_retain, NULL AS on_denial,
    NULL AS share_names
FROM asked AS a
CROSS JOIN tenants AS t ON t.name = a.tenant
LEFT JOIN principals AS p ON p.tenant = a.tenant AND p.username = a.username
UNION ALL
SELECT
    NULL, s.tenant, true, NULL, '{}', NULL, '[]',
    m.id, m.subject_kind, m.subject, m.action, m.filter, m.effect,
    m.priority, m.max_qos, m.allow_retain, m.on_denial,
    m.share_names
FROM subjects AS s
CROSS JOIN permissions AS m
    ON m.tenant = s.tenant AND m.subject_kind = s.kind AND m.subject = s.name
LIMIT ?3
