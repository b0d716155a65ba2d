//! A broker with two tenants, each with a listener of its own, and the API as a tenant has it.

use serde_json::json;

use crate::admin::AdminClient;
use crate::broker::{Broker, add_rules, directory, plugins, share_compiled};
use crate::wait::wait_until;

/// The tenants `a` and `b`, with tables. `pipeline` gives the places of their programs, whose plugins have
/// `plugin_ms` for a call; `sections` stand beside it in the configuration; `rules` are the operator's.
pub fn two_tenants(
    plugin_ms: u32,
    pipeline: &str,
    sections: &str,
    rules: &[(&str, &str)],
) -> Broker {
    let directory = directory();
    add_rules(directory.path(), rules);
    share_compiled(directory.path());
    let plugins = plugins();
    let yaml = format!(
        "data_dir: data
listeners:
  - {{name: a, bind: \"tcp://127.0.0.1:0\"}}
  - {{name: b, bind: \"tcp://127.0.0.1:0\"}}
admin: {{bind: \"127.0.0.1:0\"}}
database: {{url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}}
plugins: {{dir: {plugins:?}, time_ms: {plugin_ms}}}
{sections}
pipeline:
  connect:
    - {{builtin: anonymous, listeners: [a], config: {{tenant: a}}}}
    - {{builtin: anonymous, listeners: [b], config: {{tenant: b}}}}
{pipeline}
"
    );
    let broker = Broker::with_config(&yaml, directory);
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    for name in ["a", "b"] {
        let made = json!({"name": name}).to_string();
        assert_eq!(admin.post("/api/v1/tenants", made.as_bytes()).0, 201);
    }
    broker
}

/// The API as a tenant's own token has it.
pub fn own(broker: &Broker, tenant: &str) -> AdminClient {
    let admin = broker.admin();
    let path = format!("/api/v1/tenants/{tenant}/tokens");
    let (status, made) = admin.post(&path, br#"{"name": "dev"}"#);
    assert_eq!(status, 201, "{made}");
    admin.with_token(made["token"].as_str().expect("a token"))
}
