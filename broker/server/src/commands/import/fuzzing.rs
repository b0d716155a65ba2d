//! What the fuzz targets try here: files of other brokers.

use super::{Import, acl, dynsec, go_auth};

/// Reads `bytes` as each file that can be imported.
///
/// # Panics
/// Where the SQL that comes of it could mean something else than it shows.
pub fn import(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = go_auth::read_queries(text);
    let mut import = Import::default();
    import.read_passwords(text);
    acl::read(&mut import, text, "anonymous", text.len() % 2 == 0);
    let _ = dynsec::read(&mut import, text, "anonymous");
    let sql = import.to_sql("acme").expect("it is the name of a tenant");
    let roles: usize = import.principals.iter().map(|it| it.roles.len()).sum();
    let passwords = import.principals.iter().filter(|it| it.password.is_some()).count();
    // Begin, commit, and the tenant.
    let expected = 3 + import.principals.len() + passwords + roles + import.permissions.len();
    assert_eq!(statements(&sql), expected, "{sql}");
}

/// How many there are; what stands between quotation marks is none of them.
fn statements(sql: &str) -> usize {
    assert!(!sql.contains('\0'), "NUL ends a text in some readers");
    let outside: String = sql.split('\'').step_by(2).collect();
    assert!(outside.is_ascii() && !outside.contains("--"), "{outside}");
    assert_eq!(sql.matches('\'').count() % 2, 0, "a text does not end");
    outside.matches(';').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_imported_stays_within_its_quotation_marks() {
        for text in [
            "user o'hara\ntopic read a'; DROP TABLE principals; --/#\npattern write %u/'",
            "kim:$7$101$c2FsdA==$aGFzaA==\nkim's:$6$x$y\n",
            r#"{"clients":[{"username":"o'k;","roles":[{"rolename":"r';"}]}],
                "roles":[{"rolename":"r';","acls":[{"acltype":"subscribePattern","topic":"a\nb';--","allow":true}]}]}"#,
            "auth_opt_pg_userquery SELECT 1\nauth_opt_pg_userquery SELECT 2",
        ] {
            import(text.as_bytes());
        }
    }
}
