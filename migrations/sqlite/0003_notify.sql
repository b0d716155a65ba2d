-- SQLite calls nobody: the broker reads the change log every poll_interval_ms. The file stands here so
-- that both schemas have the same numbers.
SELECT 1;
