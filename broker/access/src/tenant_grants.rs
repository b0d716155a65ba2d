//! Which principals reach into other tenants than their own, how far, and until when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use hookmq_codec::{TopicFilter, TopicName, filter_covers, filter_matches};
use hookmq_hooks::Action;

/// Grants that are held; the tables may know any number of others.
pub const MAX_TENANT_GRANTS: usize = 100_000;

/// Topic filters that one grant may have for each action.
pub const MAX_GRANTED_FILTERS: usize = 100;

/// What a principal may do in a tenant that is not its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantGrant {
    pub id: i64,
    /// Of the principal.
    pub tenant: Arc<str>,
    pub username: Arc<str>,
    /// The tenant that it reaches.
    pub target: Arc<str>,
    /// Of the target's topics, as its own clients name them.
    pub publish: Vec<TopicFilter>,
    pub subscribe: Vec<TopicFilter>,
    pub granted_by: Arc<str>,
    /// None: for good.
    pub expires_at: Option<SystemTime>,
}

/// What a principal wishes to do in another tenant.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Of the principal.
    pub tenant: &'a str,
    pub username: &'a str,
    pub target: &'a str,
    pub action: Action,
    /// The topic name, or to subscribe the bare filter, as the target's own clients name it.
    pub topic: &'a str,
}

/// All grants whose tenants are enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantGrants {
    /// By the principal's tenant, its username, and the target; the oldest first.
    found: HashMap<Arc<str>, HashMap<Arc<str>, ByTarget>>,
    all: Vec<Arc<TenantGrant>>,
}

type ByTarget = HashMap<Arc<str>, Vec<Arc<TenantGrant>>>;

/// The filters of a grant, from a JSON array of texts.
///
/// # Errors
/// What is wrong with them, in words for an operator.
pub fn granted_filters(json: &str) -> Result<Vec<TopicFilter>, String> {
    let texts: Vec<Box<str>> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if texts.len() > MAX_GRANTED_FILTERS {
        return Err(format!("more than {MAX_GRANTED_FILTERS} filters"));
    }
    let filter = |text: Box<str>| {
        if text.starts_with('$') {
            return Err(format!("{text:?}: a filter of ordinary topics does not begin with $"));
        }
        TopicFilter::new(text.clone()).map_err(|error| format!("{text:?}: {error}"))
    };
    texts.into_iter().map(filter).collect()
}

impl TenantGrant {
    pub fn is_in_force(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    fn allows(&self, action: Action, topic: &str) -> bool {
        match action {
            Action::Publish => TopicName::new(topic).is_ok_and(|topic| {
                self.publish.iter().any(|filter| filter_matches(filter.bare(), topic))
            }),
            Action::Subscribe => {
                self.subscribe.iter().any(|filter| filter_covers(filter.bare(), topic))
            }
            Action::Receive => false,
        }
    }
}

impl TenantGrants {
    pub(crate) fn insert(&mut self, grant: TenantGrant) {
        let grant = Arc::new(grant);
        let of_tenant = self.found.entry(grant.tenant.clone()).or_default();
        let of_principal = of_tenant.entry(grant.username.clone()).or_default();
        of_principal.entry(grant.target.clone()).or_default().push(grant.clone());
        self.all.push(grant);
    }

    /// The grant that fulfils a wish now.
    pub fn find(&self, wish: &Wish<'_>, now: SystemTime) -> Option<&Arc<TenantGrant>> {
        let found = self.found.get(wish.tenant)?.get(wish.username)?.get(wish.target)?;
        found.iter().find(|it| it.is_in_force(now) && it.allows(wish.action, wish.topic))
    }

    /// Those that are in force.
    pub fn in_force(&self, now: SystemTime) -> impl Iterator<Item = &Arc<TenantGrant>> {
        self.all.iter().filter(move |it| it.is_in_force(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wish<'a>(action: Action, target: &'a str, topic: &'a str) -> Wish<'a> {
        Wish { tenant: "ops", username: "billing", target, action, topic }
    }

    fn grants(expires_at: Option<SystemTime>) -> TenantGrants {
        let mut grants = TenantGrants::default();
        grants.insert(TenantGrant {
            id: 1,
            tenant: "ops".into(),
            username: "billing".into(),
            target: "acme".into(),
            publish: granted_filters(r#"["cmd/+"]"#).unwrap(),
            subscribe: granted_filters(r#"["sensors/#", "+/state"]"#).unwrap(),
            granted_by: "".into(),
            expires_at,
        });
        grants
    }

    #[test]
    fn a_grant_is_for_its_principal_its_target_its_action_and_its_topics() {
        let (grants, now) = (grants(None), SystemTime::now());
        let table = [
            (wish(Action::Publish, "acme", "cmd/1"), true),
            (wish(Action::Publish, "acme", "cmd/1/2"), false),
            (wish(Action::Publish, "acme", "sensors/1"), false),
            (wish(Action::Publish, "globex", "cmd/1"), false),
            (wish(Action::Subscribe, "acme", "sensors/#"), true),
            (wish(Action::Subscribe, "acme", "sensors/+/x"), true),
            (wish(Action::Subscribe, "acme", "pump/state"), true),
            (wish(Action::Subscribe, "acme", "#"), false),
            (wish(Action::Subscribe, "acme", "+/x"), false),
            (wish(Action::Subscribe, "acme", "$SYS/state"), false),
            (wish(Action::Receive, "acme", "sensors/1"), false),
            (Wish { tenant: "acme", ..wish(Action::Publish, "acme", "cmd/1") }, false),
            (Wish { username: "other", ..wish(Action::Publish, "acme", "cmd/1") }, false),
        ];
        for (wish, granted) in table {
            assert_eq!(grants.find(&wish, now).is_some(), granted, "{wish:?}");
        }
    }

    #[test]
    fn a_grant_ends_at_its_time() {
        let now = SystemTime::now();
        let grants = grants(Some(now + Duration::from_secs(1)));
        let wish = wish(Action::Publish, "acme", "cmd/1");
        assert!(grants.find(&wish, now).is_some());
        assert!(grants.find(&wish, now + Duration::from_secs(1)).is_none());
        assert_eq!(grants.in_force(now + Duration::from_secs(1)).count(), 0);
    }

    #[test]
    fn filters_are_those_of_ordinary_topics() {
        let too_many = format!("[{}\"a\"]", "\"a\",".repeat(MAX_GRANTED_FILTERS));
        let odd =
            [r##"["#/a"]"##, r#"["$SYS/#"]"#, r#"["$share/g/a"]"#, "[1]", "{}", "x", r#"[""]"#];
        for wrong in odd.into_iter().chain([&*too_many]) {
            assert!(granted_filters(wrong).is_err(), "{wrong}");
        }
        assert_eq!(granted_filters(r##"["#", "a/+"]"##).unwrap().len(), 2);
    }
}
