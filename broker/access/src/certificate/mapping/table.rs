//! Mappings that stand in the table `certificate_mappings`, found by what they are for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hookmq_hooks::{CertificateFacts, Client, IdentityPatch};
use serde_json::{Value, json};

use super::Mapping;
use super::template::Field;
use crate::database::MappingRow;

/// Mappings that count; of more, the newest do not.
pub(crate) const MAX_MAPPINGS: usize = 100_000;

/// The mappings as they were read last.
#[derive(Debug, Default)]
pub struct Mappings {
    /// By what they are for.
    exact: HashMap<Field, HashMap<String, Vec<Listed>>>,
    /// For every certificate of their anchors.
    general: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    id: i64,
    priority: i64,
    is_general: bool,
    mapping: Mapping,
}

/// What a mapping has made of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    tenant: Option<Arc<str>>,
    username: Option<Arc<str>>,
    client_id: Option<Arc<str>>,
    roles: BTreeSet<Arc<str>>,
    attributes: BTreeMap<Arc<str>, String>,
}

impl Mappings {
    /// Adds a row.
    ///
    /// # Errors
    /// Why it cannot be used. It is left out then: nobody is identified by it.
    pub(crate) fn insert(&mut self, row: MappingRow) -> Result<(), String> {
        let for_what = match (&row.match_field, &row.match_value) {
            (None, None) => None,
            (Some(field), Some(value)) => {
                let known = Field::ALL.into_iter().find(|known| known.name() == field);
                let known = known.ok_or_else(|| format!("{field:?} is no field"))?;
                if known == Field::Serial && row.issuer.is_none() {
                    return Err("a serial number means nothing without `issuer`".into());
                }
                Some((known, value.clone()))
            }
            _ => return Err("`match_field` and `match_value` belong together".into()),
        };
        let (id, priority) = (row.id, row.priority);
        let listed = Listed { id, priority, is_general: for_what.is_none(), mapping: read(row)? };
        let place = match for_what {
            None => &mut self.general,
            Some((field, value)) => self.exact.entry(field).or_default().entry(value).or_default(),
        };
        place.push(listed);
        Ok(())
    }

    /// The number of the mapping that decides about a certificate, and who its holder is.
    ///
    /// # Errors
    /// Why it is nobody, in words for an operator.
    pub(crate) fn identify(
        &self,
        certificate: &CertificateFacts,
    ) -> Result<(i64, IdentityPatch), String> {
        let exact = self.exact.iter().filter_map(|(field, by_value)| {
            // What could be read in two ways fits nothing.
            by_value.get(field.value(certificate).ok()?)
        });
        let first = exact
            .flatten()
            .chain(&self.general)
            .filter(|it| it.mapping.concerns(certificate))
            .min_by_key(|it| (Reverse(it.priority), it.is_general, it.id));
        let Some(Listed { id, mapping, .. }) = first else {
            return Err(format!(
                "no row of certificate_mappings concerns {:?} of {:?}",
                certificate.subject.text, certificate.trust_anchor
            ));
        };
        let patch = mapping.identify(certificate);
        Ok((*id, patch.map_err(|why| format!("certificate mapping {id}: {why}"))?))
    }
}

impl Mapped {
    pub(crate) fn new(patch: &IdentityPatch) -> Self {
        Self {
            tenant: patch.tenant.clone(),
            username: patch.username.clone(),
            client_id: patch.client_id.clone(),
            roles: patch.roles.clone(),
            attributes: patch.attributes.clone(),
        }
    }

    /// Why the client, of which a mapping has made this, would be somebody else now, or nobody.
    pub(crate) fn contradiction(&self, client: &Client, mappings: &Mappings) -> Option<String> {
        let certificate = client.certificate.as_deref()?;
        match mappings.identify(certificate) {
            Ok((_, patch)) if Self::new(&patch) == *self => None,
            Ok((id, _)) => Some(format!("certificate mapping {id} makes something else of it")),
            Err(why) => Some(why),
        }
    }
}

fn read(row: MappingRow) -> Result<Mapping, String> {
    if row.tenant.contains(['{', '}']) {
        return Err("the tenant is a name, not a template".into());
    }
    let json = |text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| format!("{text:?}: {error}"))
    };
    let mapping = json!({
        "trust_anchor": row.trust_anchor,
        "issuer": row.issuer,
        "vouched_by": row.vouched_by,
        "tenant": row.tenant,
        "username": row.username,
        "client_id": row.client_id,
        "roles": json(&row.roles)?,
        "attributes": json(&row.attributes)?,
    });
    serde_json::from_value(mapping).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64) -> MappingRow {
        MappingRow {
            id,
            priority: 0,
            trust_anchor: "devices".into(),
            vouched_by: "tls".into(),
            issuer: None,
            match_field: None,
            match_value: None,
            tenant: "acme".into(),
            username: "{cn}".into(),
            client_id: None,
            roles: "[]".into(),
            attributes: "{}".into(),
        }
    }

    fn of(id: i64, field: &str, value: &str) -> MappingRow {
        let (match_field, match_value) = (Some(field.into()), Some(value.into()));
        MappingRow { match_field, match_value, username: format!("row {id}"), ..row(id) }
    }

    fn certificate() -> CertificateFacts {
        let mut certificate = CertificateFacts::default();
        certificate.subject.common_name = vec!["pump-7".into()];
        certificate.san_dns = vec!["a.example".into(), "b.example".into()];
        certificate.fingerprint = "ff".into();
        certificate.serial = "2a".into();
        certificate.issuer.text = "CN=CA".into();
        certificate.trust_anchor = "devices".into();
        certificate
    }

    fn decides(rows: Vec<MappingRow>) -> Option<i64> {
        let mut mappings = Mappings::default();
        rows.into_iter().for_each(|row| mappings.insert(row).unwrap());
        mappings.identify(&certificate()).ok().map(|(id, _)| id)
    }

    #[test]
    fn priority_decides_and_then_what_is_for_one_certificate() {
        assert_eq!(
            decides(vec![row(1), of(2, "cn", "pump-7"), of(3, "fingerprint", "ff")]),
            Some(2)
        );
        let first = MappingRow { priority: 1, ..row(4) };
        assert_eq!(decides(vec![row(1), of(2, "cn", "pump-7"), first]), Some(4));
        assert_eq!(decides(vec![of(1, "cn", "pump-8")]), None);
        // Which of the two would be meant?
        assert_eq!(decides(vec![of(1, "san_dns", "a.example")]), None);
        let elsewhere = MappingRow { trust_anchor: "guests".into(), ..row(1) };
        assert_eq!(decides(vec![elsewhere]), None);
        let proxied = MappingRow { vouched_by: "proxy".into(), ..row(1) };
        assert_eq!(decides(vec![proxied]), None);
    }

    #[test]
    fn a_row_that_cannot_be_used_says_why() {
        let table = [
            (of(1, "serial", "2a"), "without `issuer`"),
            (of(1, "shoe", "2a"), "\"shoe\" is no field"),
            (MappingRow { match_field: Some("cn".into()), ..row(1) }, "belong together"),
            (MappingRow { tenant: "{o}".into(), ..row(1) }, "not a template"),
            (MappingRow { username: "{shoe}".into(), ..row(1) }, "{shoe} is no field"),
            (MappingRow { roles: "{".into(), ..row(1) }, "EOF"),
            (MappingRow { vouched_by: "me".into(), ..row(1) }, "unknown variant"),
        ];
        for (row, expected) in table {
            let why = Mappings::default().insert(row).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        let by_serial = MappingRow { issuer: Some("CN=CA".into()), ..of(1, "serial", "2a") };
        assert_eq!(decides(vec![by_serial]), Some(1));
    }
}
