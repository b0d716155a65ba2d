SELECT id, tenant, kind, subject, reason,
    CAST(ceil(extract(epoch FROM expires_at)) AS bigint) AS expires_at
FROM bans
WHERE expires_at IS NULL OR expires_at > now()
ORDER BY id DESC
LIMIT $1
