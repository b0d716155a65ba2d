-- ?1 tenant, ?2 username, ?3 bound client id or null, ?4 roles given by other steps as JSON, ?5 limit
WITH granted (role) AS (
    SELECT role FROM principal_roles WHERE tenant = ?1 AND username = ?2
    UNION
    SELECT value FROM json_each(?4)
), subjects (kind, name) AS (
    SELECT 'principal', ?2
    UNION ALL SELECT 'everyone', ''
    UNION ALL SELECT 'client_id', ?3
    UNION ALL SELECT 'role', role FROM granted
)
SELECT
    t.enabled AS tenant_enabled,
    p.enabled AS principal_enabled,
    t.attributes AS tenant_attributes,
    p.attributes AS principal_attributes,
    (SELECT json_group_array(role) FROM granted) AS roles,
    m.id, m.subject_kind, m.subject, m.action, m.filter, m.effect,
    m.priority AS priority, m.max_qos AS max_qos, m.allow_retain, m.on_denial,
    m.share_names
FROM tenants AS t
LEFT JOIN principals AS p ON p.tenant = t.name AND p.username = ?2
LEFT JOIN (
    -- CROSS: in this order, for each subject by the index.
    subjects AS s
    CROSS JOIN permissions AS m
        ON m.tenant = ?1 AND m.subject_kind = s.kind AND m.subject = s.name
) ON true
WHERE t.name = ?1
LIMIT ?5
