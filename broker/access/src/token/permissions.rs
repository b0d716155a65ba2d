//! What a token says that its holder may do.

use hookmq_codec::Qos;
use hookmq_hooks::{Action, Effect};
use serde::Deserialize;
use serde_json::Value;

use crate::{FilterPattern, Permission, PermissionSet, ShareNames, Terms};

/// Most permissions that a token may bring; one with more is refused.
const MAX_TOKEN_PERMISSIONS: usize = 256;

/// An entry of the claim. What it does not know might narrow it, and is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    action: Actions,
    filter: String,
    #[serde(default)]
    effect: Verb,
    max_qos: Option<u8>,
    retain: Option<bool>,
    share_names: Option<Vec<String>>,
    #[serde(default)]
    priority: i32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Actions {
    One(Name),
    Several(Vec<Name>),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Name {
    Publish,
    Subscribe,
    Receive,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verb {
    #[default]
    Allow,
    Deny,
}

/// Reads the claim, which permits nothing where it is absent. The permissions have the numbers -1, -2, ..
/// in the order of the claim, so that they are not taken for rows of the table.
///
/// # Errors
/// Which entry is malformed, in words for an operator.
pub(super) fn read(claim: Option<&Value>) -> Result<PermissionSet, String> {
    let entries: &[Value] = match claim {
        None => &[],
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err("the token's permissions are no list".into()),
    };
    let mut permissions = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        let malformed = |why: &dyn std::fmt::Display| {
            format!("entry {number} of the token's permissions: {why}")
        };
        let entry = Entry::deserialize(entry).map_err(|_| malformed(&"it is malformed"))?;
        let filter = FilterPattern::new(&entry.filter).map_err(|error| malformed(&error))?;
        let terms = entry.terms().ok_or_else(|| malformed(&"`max_qos` is 0, 1 or 2"))?;
        let share_names = entry.share_names.map_or(ShareNames::Any, ShareNames::only);
        for action in entry.action.list() {
            if permissions.len() == MAX_TOKEN_PERMISSIONS {
                return Err(format!("the token has more than {MAX_TOKEN_PERMISSIONS} permissions"));
            }
            permissions.push(Permission {
                id: -number,
                action,
                filter: filter.clone(),
                terms,
                share_names: share_names.clone(),
                priority: entry.priority.into(),
                on_denial: Effect::default(),
                only_client_id: None,
            });
        }
    }
    Ok(PermissionSet::new(permissions))
}

impl Entry {
    fn terms(&self) -> Option<Terms> {
        let maximum_qos = match self.max_qos {
            None => Qos::ExactlyOnce,
            Some(bits) => Qos::from_bits(bits)?,
        };
        Some(match self.effect {
            Verb::Deny => Terms::Deny,
            Verb::Allow => Terms::Allow { maximum_qos, retain: self.retain.unwrap_or(true) },
        })
    }
}

impl Actions {
    fn list(&self) -> impl Iterator<Item = Action> {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        };
        names.iter().map(|name| match name {
            Name::Publish => Action::Publish,
            Name::Subscribe => Action::Subscribe,
            Name::Receive => Action::Receive,
        })
    }
}
