//! What a look-up of many principals finds, taken apart for each of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Answer, MAX_PERMISSIONS, NotAdmitted, Principal};
use super::{all_attributes, permission, refused, roles};
use crate::database::{Asked, LookupRow, ManyRow, Subject};
use crate::directory::DirectoryError;
use crate::{Permission, PermissionSet, PrincipalKey};

/// The rows of one look-up.
pub(in crate::directory) struct Found {
    /// By tenant and username.
    principals: HashMap<(String, String), LookupRow>,
    permissions: HashMap<Subject, Vec<Readable>>,
}

/// A permission that cannot be read refuses those whom it is for, and nobody else.
type Readable = Result<Arc<Permission>, DirectoryError>;

impl Found {
    /// Gives way to other tasks in between, as [`Self::answer`] does not.
    pub(in crate::directory) async fn new(asked: &Asked, rows: Vec<ManyRow>) -> Self {
        let mut places: HashMap<i64, LookupRow> = HashMap::new();
        let mut permissions: HashMap<Subject, Vec<Readable>> = HashMap::new();
        for ManyRow { place, tenant, mut row } in rows {
            tokio::task::consume_budget().await;
            if let Some(place) = place {
                places.insert(place, row);
                continue;
            }
            let kind = row.subject_kind.clone().unwrap_or_default();
            // Only a permission for a client id keeps whom it is for.
            let name = match &*kind {
                "client_id" => row.subject.clone(),
                _ => row.subject.take(),
            };
            let subject = Subject {
                tenant: tenant.unwrap_or_default(),
                kind,
                name: name.unwrap_or_default(),
            };
            permissions.entry(subject).or_default().push(permission(row).map(Arc::new));
        }
        let principals = asked.principals();
        let principals = principals
            .filter_map(|(place, name)| Some((name.clone(), places.remove(&place)?)))
            .collect();
        Self { principals, permissions }
    }

    /// As a look-up of this principal alone would answer.
    pub(in crate::directory) fn answer(
        &self,
        key: &PrincipalKey,
    ) -> Result<Answer, DirectoryError> {
        let name = (key.tenant.to_string(), key.username.to_string());
        let Some(row) = self.principals.get(&name) else {
            return Ok(Err(NotAdmitted::NoSuchTenant));
        };
        if let Some(refused) = refused(row) {
            return Ok(Err(refused));
        }
        let mut roles = roles(row)?;
        let given = roles.iter().filter(|role| !key.roles.contains(*role));
        let subjects = Subject::of(key).chain(given.map(|role| Subject::role(key, role)));
        let those: Vec<_> =
            subjects.filter_map(|subject| self.permissions.get(&subject)).flatten().collect();
        if those.len() > MAX_PERMISSIONS {
            return Err(DirectoryError::TooManyPermissions);
        }
        let attributes = all_attributes(row)?;
        let permissions = those.into_iter().cloned().collect::<Result<Vec<_>, _>>()?;
        roles.extend(key.roles.iter().cloned());
        let permissions = Arc::new(PermissionSet::shared(permissions));
        Ok(Ok(Arc::new(Principal { roles, attributes, permissions })))
    }
}
