SELECT id, CAST(priority AS bigint) AS priority, trust_anchor, vouched_by, issuer, match_field,
    match_value, tenant, username, client_id,
    CAST(roles AS text) AS roles, CAST(attributes AS text) AS attributes
FROM certificate_mappings
WHERE enabled
ORDER BY id
LIMIT $1
