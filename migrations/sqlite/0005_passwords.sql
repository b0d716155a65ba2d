-- Passwords of CONNECT. docs/authentication.md names the forms of their hashes.

INSERT INTO credential_kinds (kind) VALUES ('password');

-- The broker reads it more strictly. What it must never be is the password itself.
CREATE TRIGGER secret_of_password_insert BEFORE INSERT ON credentials
WHEN NEW.kind = 'password' AND (
    NEW.secret GLOB '*[^A-Za-z0-9+/=.,:$-]*'
    OR NOT (NEW.secret GLOB '$argon2id$?*' OR NEW.secret GLOB '$argon2[id]$?*'
        OR NEW.secret GLOB '$2[abxy]$?*' OR NEW.secret GLOB '$[67]$?*'
        OR NEW.secret GLOB 'PBKDF2$sha256$?*' OR NEW.secret GLOB 'PBKDF2$sha512$?*'
        OR NEW.secret GLOB 'SCRAM-SHA-256$?*')
) BEGIN
    SELECT RAISE(ABORT, 'secret_of_password: this is no hash of a password');
END;
CREATE TRIGGER secret_of_password_update BEFORE UPDATE ON credentials
WHEN NEW.kind = 'password' AND (
    NEW.secret GLOB '*[^A-Za-z0-9+/=.,:$-]*'
    OR NOT (NEW.secret GLOB '$argon2id$?*' OR NEW.secret GLOB '$argon2[id]$?*'
        OR NEW.secret GLOB '$2[abxy]$?*' OR NEW.secret GLOB '$[67]$?*'
        OR NEW.secret GLOB 'PBKDF2$sha256$?*' OR NEW.secret GLOB 'PBKDF2$sha512$?*'
        OR NEW.secret GLOB 'SCRAM-SHA-256$?*')
) BEGIN
    SELECT RAISE(ABORT, 'secret_of_password: this is no hash of a password');
END;
