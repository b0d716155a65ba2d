SELECT id, tenant, kind, subject, reason,
    CAST(strftime('%s', expires_at) AS INTEGER) AS expires_at
FROM bans
WHERE expires_at IS NULL OR julianday(expires_at) > julianday('now')
ORDER BY id DESC
LIMIT $1
