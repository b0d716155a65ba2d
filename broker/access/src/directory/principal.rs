//! What a look-up finds: a principal with roles, attributes and permissions, or why there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hookmq_codec::Qos;
use hookmq_hooks::{Action, Attribute, Effect, Voucher};

use super::DirectoryError;
use crate::DATABASE;
use crate::database::LookupRow;
use crate::{FilterPattern, Permission, PermissionSet, Terms};

/// Most permissions that may apply to one principal; one with more is refused.
pub const MAX_PERMISSIONS: usize = 10_000;

/// As a client has them, by name.
type Attributes = BTreeMap<Arc<str>, Attribute>;

/// What the directory knows about a principal.
pub type Answer = Result<Arc<Principal>, NotAdmitted>;

/// A principal that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// From the database and from other steps.
    pub roles: BTreeSet<Arc<str>>,
    /// Its own, and those of its tenant that it does not have.
    pub attributes: BTreeMap<Arc<str>, String>,
    pub permissions: Arc<PermissionSet>,
}

impl Principal {
    /// What a client of this principal has, of `attributes` those that other steps vouch for.
    pub fn attributes_beside(&self, attributes: &Attributes) -> Attributes {
        let vouched_by = Voucher::Step(DATABASE.into());
        let others = attributes.iter().filter(|(_, it)| it.vouched_by != vouched_by);
        let mut all: Attributes =
            others.map(|(name, attribute)| (name.clone(), attribute.clone())).collect();
        for (name, value) in &self.attributes {
            let own = Attribute { value: value.clone(), vouched_by: vouched_by.clone() };
            all.entry(name.clone()).or_insert(own);
        }
        all
    }
}

/// Why a principal may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("there is no such tenant")]
    NoSuchTenant,
    #[error("the tenant is disabled")]
    TenantDisabled,
    #[error("there is no such principal")]
    NoSuchPrincipal,
    #[error("the principal is disabled")]
    PrincipalDisabled,
}

/// Makes an answer of the rows of a look-up.
pub(crate) fn read(rows: Vec<LookupRow>) -> Result<Answer, DirectoryError> {
    let Some(first) = rows.first() else { return Ok(Err(NotAdmitted::NoSuchTenant)) };
    let own_attributes = match (first.tenant_enabled, first.principal_enabled) {
        (false, _) => return Ok(Err(NotAdmitted::TenantDisabled)),
        (true, None) => return Ok(Err(NotAdmitted::NoSuchPrincipal)),
        (true, Some(false)) => return Ok(Err(NotAdmitted::PrincipalDisabled)),
        (true, Some(true)) => first.principal_attributes.as_deref().unwrap_or("{}"),
    };
    if rows.len() > MAX_PERMISSIONS {
        return Err(DirectoryError::TooManyPermissions);
    }
    let mut attributes = attributes(&first.tenant_attributes)?;
    attributes.extend(self::attributes(own_attributes)?);
    let roles = serde_json::from_str::<Vec<String>>(&first.roles).map_err(unreadable)?;
    let roles = roles.into_iter().map(Arc::from).collect();
    let mut permissions = Vec::new();
    for row in rows.into_iter().filter(|row| row.id.is_some()) {
        let id = row.id.unwrap_or_default();
        permissions.push(permission(row).ok_or_else(|| unreadable(format!("permission {id}")))?);
    }
    let permissions = Arc::new(PermissionSet::new(permissions));
    Ok(Ok(Arc::new(Principal { roles, attributes, permissions })))
}

/// None where the row breaks the table's own constraints.
fn permission(row: LookupRow) -> Option<Permission> {
    let maximum_qos = Qos::from_bits(u8::try_from(row.max_qos?).ok()?)?;
    Some(Permission {
        id: row.id?,
        action: match &*row.action? {
            "publish" => Action::Publish,
            "subscribe" => Action::Subscribe,
            "receive" => Action::Receive,
            _ => return None,
        },
        filter: FilterPattern::lenient(&row.filter?),
        terms: match &*row.effect? {
            "allow" => Terms::Allow { maximum_qos, retain: row.allow_retain? },
            "deny" => Terms::Deny,
            _ => return None,
        },
        priority: row.priority?,
        on_denial: match &*row.on_denial? {
            "refuse" => Effect::Refuse,
            "acknowledge" => Effect::AcknowledgeAndDrop,
            "disconnect" => Effect::Disconnect,
            _ => return None,
        },
        only_client_id: match &*row.subject_kind? {
            "client_id" => Some(row.subject?.into()),
            _ => None,
        },
    })
}

/// Texts, numbers and booleans; what else a JSON object may hold is no attribute.
fn attributes(json: &str) -> Result<BTreeMap<Arc<str>, String>, DirectoryError> {
    let values: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(json).map_err(unreadable)?;
    let texts = values.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(text) => Some((name.into(), text)),
        serde_json::Value::Number(number) => Some((name.into(), number.to_string())),
        serde_json::Value::Bool(flag) => Some((name.into(), flag.to_string())),
        _ => None,
    });
    Ok(texts.collect())
}

fn unreadable(what: impl ToString) -> DirectoryError {
    DirectoryError::Unreadable(what.to_string())
}
