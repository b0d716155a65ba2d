-- $1 tenants and $2 usernames of principals; $3 tenants, $4 kinds and $5 names of subjects; $6 limit
-- LATERAL with OFFSET 0: in this order and by the index, whatever the planner believes of the tables.
WITH asked (tenant, username, place) AS (
    SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY
), subjects (tenant, kind, name) AS (
    SELECT * FROM unnest($3::text[], $4::text[], $5::text[])
    UNION
    SELECT a.tenant, 'role', r.role
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT role FROM principal_roles
        WHERE tenant = a.tenant AND username = a.username
        OFFSET 0
    ) AS r
)
SELECT
    a.place,
    NULL AS tenant,
    t.enabled AS tenant_enabled,
    p.enabled AS principal_enabled,
    t.attributes::text AS tenant_attributes,
    p.attributes::text AS principal_attributes,
    (
        SELECT coalesce(json_agg(role), '[]')::text FROM principal_roles
        WHERE tenant = a.tenant AND username = a.username
    ) AS roles,
    NULL::bigint AS id, NULL AS subject_kind, NULL AS subject, NULL AS action, NULL AS filter,
    NULL AS effect, NULL::bigint AS priority, NULL::bigint AS max_qos, NULL::boolean AS allow_retain,
    NULL AS on_denial, NULL AS share_names
FROM asked AS a
CROSS JOIN LATERAL (SELECT * FROM tenants WHERE name = a.tenant OFFSET 0) AS t
LEFT JOIN LATERAL (
    SELECT * FROM principals
    WHERE tenant = a.tenant AND username = a.username
    OFFSET 0
) AS p ON true
UNION ALL
SELECT
    NULL, s.tenant, true, NULL, '{}', NULL, '[]',
    m.id, m.subject_kind, m.subject, m.action, m.filter, m.effect,
    m.priority::bigint, m.max_qos::bigint, m.allow_retain, m.on_denial,
    m.share_names::text
FROM subjects AS s
CROSS JOIN LATERAL (
    SELECT * FROM permissions
    WHERE tenant = s.tenant AND subject_kind = s.kind AND subject = s.name
    OFFSET 0
) AS m
LIMIT $6
