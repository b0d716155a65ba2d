//! From the claims of a token to an identity, as the configuration of the step `jwt` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::compact::Compact;
use super::permissions;
use super::settings::{JwtSettings, PermissionsFrom};
use super::template::{Template, claim, text};
use crate::PermissionSet;
use crate::braces::LONGEST;
use crate::client_id::Foreign;
use crate::name::ambiguity;

/// Most roles that a token may bring; one with more is refused.
const MAX_ROLES: usize = 64;

/// Who the claims say that the client is, what it may do, and until when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) username: Arc<str>,
    pub(crate) client_id: Option<Arc<str>>,
    pub(crate) roles: BTreeSet<Arc<str>>,
    pub(crate) attributes: BTreeMap<Arc<str>, String>,
    /// None where they are not looked at.
    pub(crate) permissions: Option<PermissionSet>,
    /// Milliseconds since 1970.
    pub(crate) ends_at: Option<u64>,
}

/// Why they say that it is nobody.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// In words for an operator.
    Unfit(String),
    /// The id that would be its own.
    ClientId(String),
}

impl JwtSettings {
    /// Reads a token whose signature is right. `claimed` is the client id of CONNECT, `now` in seconds
    /// since 1970.
    pub(crate) fn read(
        &self,
        token: &Compact<'_>,
        claimed: &str,
        now: u64,
    ) -> Result<Claims, Unnamed> {
        let unfit = |error: &dyn std::fmt::Display| Unnamed::Unfit(error.to_string());
        let claims = &token.claims().map_err(|error| unfit(&error))?;
        let ends_at = self.expectations().check(claims, now).map_err(|error| unfit(&error))?;
        let permissions = match self.permissions_from {
            PermissionsFrom::Database => None,
            PermissionsFrom::Token | PermissionsFrom::Both => {
                let claim = claim(claims, &self.permissions_claim);
                Some(permissions::read(claim).map_err(Unnamed::Unfit)?)
            }
        };
        let fill = |what: &str, template: &Template| -> Result<Arc<str>, Unnamed> {
            let filled = template.fill_from(claims);
            filled.map(Arc::from).map_err(|error| Unnamed::Unfit(format!("{what}: {error}")))
        };
        let attributes = self.attributes.iter().map(|(name, template)| {
            let value = fill(&format!("attribute {name}"), template)?;
            Ok((name.clone(), value.to_string()))
        });
        Ok(Claims {
            tenant: self.tenant_of(claims)?,
            username: fill("username", &self.username)?,
            client_id: self.client_id_of(claims, claimed)?,
            roles: self.roles_of(claims)?,
            attributes: attributes.collect::<Result<_, Unnamed>>()?,
            permissions,
            ends_at,
        })
    }

    fn tenant_of(&self, claims: &Map<String, Value>) -> Result<Option<Arc<str>>, Unnamed> {
        let Some(template) = &self.tenant else { return Ok(None) };
        let tenant = template.fill_from(claims);
        let tenant = tenant.map_err(|error| Unnamed::Unfit(format!("tenant: {error}")))?;
        match self.tenants.is_empty() || self.tenants.contains(&tenant) {
            true => Ok(Some(tenant.into())),
            false => Err(Unnamed::Unfit("its tenant is not among `tenants`".into())),
        }
    }

    fn client_id_of(
        &self,
        claims: &Map<String, Value>,
        claimed: &str,
    ) -> Result<Option<Arc<str>>, Unnamed> {
        let Some(rule) = &self.client_id else { return Ok(None) };
        let bound = rule.bind(claimed, |name| text(claim(claims, name)?));
        bound.map(Some).map_err(|foreign| match foreign {
            Foreign::Unfit(why) => Unnamed::Unfit(format!("client id: {why}")),
            Foreign::NotOwn(own) => Unnamed::ClientId(own),
        })
    }

    fn roles_of(&self, claims: &Map<String, Value>) -> Result<BTreeSet<Arc<str>>, Unnamed> {
        let unfit = |why: &str| Unnamed::Unfit(format!("roles: {why}"));
        let roles = self.roles.iter().map(|role| role.fill_from(claims).map(Arc::from));
        let mut roles: BTreeSet<_> = roles.collect::<Result<_, _>>().map_err(|it| unfit(&it))?;
        if let Some(name) = &self.roles_from {
            roles.extend(listed(claim(claims, name)).map_err(unfit)?);
        }
        Ok(roles)
    }
}

/// The names in a list, or in a text as `scope` is written (RFC 8693 section 4.2).
fn listed(claim: Option<&Value>) -> Result<Vec<Arc<str>>, &'static str> {
    let names: Vec<&str> = match claim {
        None => Vec::new(),
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(items)) => {
            items.iter().map(Value::as_str).collect::<Option<_>>().ok_or("one is no text")?
        }
        Some(_) => return Err("they are neither a list nor a text"),
    };
    if names.len() > MAX_ROLES {
        return Err("there are too many");
    }
    let is_name =
        |name: &&str| !name.is_empty() && name.len() <= LONGEST && ambiguity(name).is_none();
    match names.iter().all(is_name) {
        true => Ok(names.into_iter().map(Arc::from).collect()),
        false => Err("one is empty, too long or could mean two things"),
    }
}
