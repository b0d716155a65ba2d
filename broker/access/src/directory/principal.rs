//! What a look-up finds: a principal with roles, attributes and permissions, or why there is none.

mod many;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hookmq_codec::Qos;
use hookmq_hooks::{Action, Attribute, Effect, Voucher};

use super::DirectoryError;
use crate::DATABASE;
use crate::database::LookupRow;
use crate::{FilterPattern, Permission, PermissionSet, ShareNames, Terms};
pub(super) use many::Found;

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
    if let Some(refused) = refused(first) {
        return Ok(Err(refused));
    }
    if rows.len() > MAX_PERMISSIONS {
        return Err(DirectoryError::TooManyPermissions);
    }
    let (roles, attributes) = (roles(first)?, all_attributes(first)?);
    let mut permissions = Vec::new();
    for row in rows.into_iter().filter(|row| row.id.is_some()) {
        permissions.push(Arc::new(permission(row)?));
    }
    let permissions = Arc::new(PermissionSet::shared(permissions));
    Ok(Ok(Arc::new(Principal { roles, attributes, permissions })))
}

/// Why the principal that a row is about may not connect.
fn refused(row: &LookupRow) -> Option<NotAdmitted> {
    match (row.tenant_enabled, row.principal_enabled) {
        (false, _) => Some(NotAdmitted::TenantDisabled),
        (true, None) => Some(NotAdmitted::NoSuchPrincipal),
        (true, Some(false)) => Some(NotAdmitted::PrincipalDisabled),
        (true, Some(true)) => None,
    }
}

fn roles(row: &LookupRow) -> Result<BTreeSet<Arc<str>>, DirectoryError> {
    let roles = serde_json::from_str::<Vec<String>>(&row.roles).map_err(unreadable)?;
    Ok(roles.into_iter().map(Arc::from).collect())
}

fn all_attributes(row: &LookupRow) -> Result<BTreeMap<Arc<str>, String>, DirectoryError> {
    let mut all = attributes(&row.tenant_attributes)?;
    all.extend(attributes(row.principal_attributes.as_deref().unwrap_or("{}"))?);
    Ok(all)
}

fn permission(row: LookupRow) -> Result<Permission, DirectoryError> {
    let id = row.id.unwrap_or_default();
    checked_permission(row).ok_or_else(|| unreadable(format!("permission {id}")))
}

/// None where the row breaks the table's own constraints.
fn checked_permission(row: LookupRow) -> Option<Permission> {
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
        share_names: row.share_names.map_or(ShareNames::Any, |names| ShareNames::lenient(&names)),
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
