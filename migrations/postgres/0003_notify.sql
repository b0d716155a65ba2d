-- Calls the brokers when the change log grows, so that they read it at once. What it says is all in the
-- log, which they read in any case: a call that is lost costs time and nothing else.

CREATE FUNCTION hookmq_notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hookmq_change_log', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER notify_change AFTER INSERT ON change_log
    FOR EACH STATEMENT EXECUTE FUNCTION hookmq_notify_change();
