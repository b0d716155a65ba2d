//! The `permissions` section: what follows when rights are lost, and whose deliveries are authorized.

use serde::Deserialize;

use super::ListenerConfig;
use super::check::Check;
use super::error::KeyPath;
use crate::broker::rights::{OnRevocation, ReceiveDemand, RightsOptions};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct RightsDocument {
    on_revocation: OnRevocation,
    receive: Receive,
    receive_listeners: Vec<String>,
    receive_tenants: Vec<String>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Receive {
    #[default]
    WhereStated,
    Always,
}

pub(super) fn check(
    check: &mut Check,
    document: RightsDocument,
    listeners: &[ListenerConfig],
) -> RightsOptions {
    for (index, name) in document.receive_listeners.iter().enumerate() {
        if !listeners.iter().any(|listener| *listener.name == **name) {
            let path = KeyPath::root("permissions").key("receive_listeners").index(index);
            check.problem(&path, format!("there is no listener {name:?}"));
        }
    }
    let texts = |texts: Vec<String>| texts.into_iter().map(Into::into).collect();
    RightsOptions {
        on_revocation: document.on_revocation,
        receive: ReceiveDemand {
            always: document.receive == Receive::Always,
            listeners: texts(document.receive_listeners),
            tenants: texts(document.receive_tenants),
        },
    }
}
