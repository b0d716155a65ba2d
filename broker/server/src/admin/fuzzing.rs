//! What the fuzz targets try here: bodies of requests.

use super::{bans, explain, grants, tenants, tokens};

/// Reads `bytes` as the body of each request that has one in JSON.
pub fn admin(bytes: &[u8]) {
    let _ = tenants::asked(bytes);
    let _ = bans::asked(bytes);
    let _ = grants::asked(bytes, "acme", "somebody".into());
    let _ = tokens::asked(bytes);
    let _ = explain::describe(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_or_refused() {
        for body in [
            r#"{"name":"acme","quotas":{"maximum_connections":0},"attributes":{"a":"\u0000"}}"#,
            r#"{"kind":"network","subject":"10.0.0.0/33","expires_in_s":4294967295}"#,
            r#"{"tenant":"a","username":"b","publish":["{x"],"subscribe":["$share/a"]}"#,
            r#"{"username":"kim","topic":"a/#","action":"subscribe","qos":9}"#,
            r#"{"username":"kim","topic":"a/#","payload_base64":"?"}"#,
            "[]",
            "",
        ] {
            admin(body.as_bytes());
        }
    }
}
