-- Which shared subscriptions an allow to subscribe is good for.

ALTER TABLE permissions ADD COLUMN share_names jsonb
    CONSTRAINT share_names_are_names CHECK (
        jsonb_typeof(share_names) = 'array'
        AND NOT jsonb_path_exists(
            share_names, '$[*] ? (@.type() != "string" || @ == "" || @ like_regex "[/+#]")'
        )
    );
COMMENT ON COLUMN permissions.share_names IS 'Of an allow to subscribe: the NAMEs in $share/NAME/FILTER, a JSON array. Null: any; []: not as a shared subscription.';
