-- One row, whoever is asked for; without a secret where there is none that counts.
SELECT stranger.value AS stranger_key, known.secret
FROM broker_secrets AS stranger
LEFT JOIN (
    SELECT credentials.secret
    FROM credentials
    JOIN principals USING (tenant, username)
    JOIN tenants ON tenants.name = credentials.tenant
    WHERE credentials.tenant = $1 AND credentials.username = $2 AND credentials.kind = $3
        AND credentials.enabled AND principals.enabled AND tenants.enabled
) AS known ON true
WHERE stranger.name = 'strangers'
