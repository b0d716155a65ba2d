-- Which shared subscriptions an allow to subscribe is good for: the NAMEs in $share/NAME/FILTER, a JSON
-- array. NULL: any; []: not as a shared subscription.

ALTER TABLE permissions ADD COLUMN share_names TEXT
    CONSTRAINT share_names_are_names CHECK (
        share_names IS NULL OR (json_valid(share_names) AND json_type(share_names) = 'array')
    );
