-- $1 tenant, $2 username, $3 bound client id or null, $4 roles given by other steps, $5 limit
WITH granted (role) AS (
    SELECT role FROM principal_roles WHERE tenant = $1 AND username = $2
    UNION
    SELECT unnest($4::text[])
), subjects (kind, name) AS (
    SELECT 'principal', $2::text
    UNION ALL SELECT 'everyone', ''
    UNION ALL SELECT 'client_id', $3::text
    UNION ALL SELECT 'role', role FROM granted
)
SELECT
    t.enabled AS tenant_enabled,
    p.enabled AS principal_enabled,
    t.attributes::text AS tenant_attributes,
    p.attributes::text AS principal_attributes,
    (SELECT coalesce(json_agg(role), '[]')::text FROM granted) AS roles,
    m.id, m.subject_kind, m.subject, m.action, m.filter, m.effect,
    m.priority::bigint AS priority, m.max_qos::bigint AS max_qos, m.allow_retain, m.on_denial,
    m.share_names::text AS share_names
FROM tenants AS t
LEFT JOIN principals AS p ON p.tenant = t.name AND p.username = $2
LEFT JOIN (
    -- For each subject by the index, whatever the planner believes of the table.
    subjects AS s
    CROSS JOIN LATERAL (
        SELECT * FROM permissions
        WHERE tenant = $1 AND subject_kind = s.kind AND subject = s.name
        OFFSET 0
    ) AS m
) ON true
WHERE t.name = $1
LIMIT $5
