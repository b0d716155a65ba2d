//! Topics of other tenants, `$tenant/NAME/TOPIC`: who gets there by a grant, and who does not any more.
//!
//! No message is ever on such a topic in a tenant: what is published on one is published inside the
//! tenant that it names, and a subscription to one stands in that tenant's [`Guests`].
//!
//! [`Guests`]: super::guests::Guests

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hookmq_access::{Directory, TenantGrant, TenantGrants, Wish};
use hookmq_codec::{TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage, Subscription};
use hookmq_hooks::{Access, Client, Denial, Effect};

use super::Broker;
use super::publisher::{Judged, Will};
use super::session_handle::SessionHandle;
use super::tenant::Tenant;
use crate::audit::{Audit, GrantEvent};

const PREFIX: &str = "$tenant/";

/// A clock that is set is noticed so soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What a topic name, or a bare filter, of another tenant names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abroad<'a> {
    pub tenant: &'a str,
    /// As that tenant's own clients name it.
    pub topic: &'a str,
}

/// Whether a client gets to a topic beyond what its permissions say.
#[derive(Debug)]
pub enum Passage {
    /// The topic is of its own tenant.
    Home,
    Granted(Arc<TenantGrant>),
    /// Whether there is such a tenant makes no difference.
    Closed,
    /// Nobody can say now.
    Unknown,
}

/// Whether a topic name, or a bare filter, is kept for topics of other tenants, whatever it names.
#[inline]
pub fn is_abroad(topic: &str) -> bool {
    topic.starts_with(PREFIX)
}

impl<'a> Abroad<'a> {
    /// None where no topic of any tenant is named: the tenant is a wildcard or missing, or the topic is
    /// missing or begins with `$` itself.
    pub fn of(topic: &'a str) -> Option<Self> {
        let (tenant, topic) = topic.strip_prefix(PREFIX)?.split_once('/')?;
        let names_one = !tenant.is_empty() && !tenant.contains(['+', '#']);
        let is_ordinary = !topic.is_empty() && !topic.starts_with('$');
        (names_one && is_ordinary).then_some(Self { tenant, topic })
    }
}

impl Passage {
    /// Why there is none, as permissions deny; nothing where there is one.
    pub fn denial(&self) -> Option<Denial> {
        let reason = match self {
            Self::Home | Self::Granted(_) => return None,
            Self::Closed => "no grant leads to this topic of another tenant",
            Self::Unknown => "whether a grant leads to this topic cannot be told now",
        };
        Some(Denial { effect: Effect::Refuse, reason: reason.into() })
    }
}

/// A message as those see it who are not of its tenant. None where the topic would be too long.
pub fn seen_from_abroad(tenant: &str, message: &Message) -> Option<Message> {
    let topic = format!("{PREFIX}{tenant}/{}", message.topic());
    let topic = TopicName::new(&topic).ok()?;
    Some(Message::new(NewMessage { topic, ..message.parts() }))
}

impl Broker {
    /// Whether the client gets to where it wants to publish, or to subscribe by a bare filter.
    pub fn passage(&self, client: &Client, access: &Access<'_>) -> Passage {
        if !is_abroad(access.topic) {
            return Passage::Home;
        }
        let Some(directory) = &self.directory else { return Passage::Closed };
        let Some(grants) = directory.tenant_grants() else { return Passage::Unknown };
        let Some(Abroad { tenant: target, topic }) = Abroad::of(access.topic) else {
            return Passage::Closed;
        };
        let Client { tenant, username, .. } = client;
        let wish = Wish { tenant, username, target, action: access.action, topic };
        let grant = grants.find(&wish, SystemTime::now());
        grant.map_or(Passage::Closed, |grant| Passage::Granted(grant.clone()))
    }

    /// Puts a subscription of a session's in force where it leads. Whoever calls it looks afterwards
    /// whether the grant still stands: whoever has withdrawn it meanwhile may have been there before.
    pub fn admit_guest(
        &self,
        session: &Arc<SessionHandle>,
        filter: &TopicFilter,
        subscription: Subscription,
    ) {
        if let Some(abroad) = Abroad::of(filter.as_str()) {
            let tenant = self.tenant(&abroad.tenant.into());
            tenant.admit_guest(abroad.topic, session, subscription);
        }
    }

    /// Ends what a session has among the guests of other tenants by these filters.
    pub fn leave_abroad<'a>(
        &self,
        session: u64,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) {
        for abroad in filters.into_iter().filter_map(|it| Abroad::of(it.as_str())) {
            if let Some(tenant) = self.used_tenant(abroad.tenant) {
                tenant.dismiss_guest(session, abroad.topic);
            }
        }
    }

    /// Keeps a restored will for another tenant until the grants are known, and gives back all others. The
    /// store has it as long as it is kept.
    pub(super) fn keep_for_abroad(&self, tenant: &Arc<Tenant>, will: Will) -> Option<Will> {
        if will.judged != Judged::Before || !is_abroad(will.message.topic().as_str()) {
            return Some(will);
        }
        let mut kept = self.wills_abroad.lock();
        if self.directory.as_ref().is_none_or(|it| it.tenant_grants().is_some()) {
            return Some(will);
        }
        kept.push((tenant.clone(), will));
        None
    }

    /// Publishes what was kept, unless it is to be kept on; says whether nothing is.
    fn publish_wills_abroad(self: &Arc<Self>) -> bool {
        let kept = std::mem::take(&mut *self.wills_abroad.lock());
        for (tenant, will) in kept {
            self.publish_restored(&tenant, will);
        }
        self.wills_abroad.lock().is_empty()
    }

    /// Ends the subscriptions to which no grant leads any more. Those who are connected notice it as
    /// they notice a permission that they have lost; those who are away, when they come back.
    fn dismiss_guests(&self, grants: &TenantGrants) {
        let now = SystemTime::now();
        for tenant in self.tenants() {
            for session in tenant.dismiss_guests(grants, now) {
                session.judge_again();
            }
        }
    }
}

/// Puts changed grants in force, ends those whose time is over, and has both on record, for as long as
/// the task lives.
pub async fn run(broker: Arc<Broker>, directory: Directory) {
    let mut changes = directory.watch_tenant_grants();
    let mut told: Option<InForce> = None;
    loop {
        let grants = changes.borrow_and_update().clone();
        let mut sleep = Duration::MAX;
        if let Some(grants) = &grants {
            broker.dismiss_guests(grants);
            let now = SystemTime::now();
            let in_force: InForce =
                grants.in_force(now).map(|grant| (grant.id, grant.clone())).collect();
            if let Some(before) = &told {
                tell(&broker.audit, before, &in_force, now);
            }
            let ends = in_force.values().filter_map(|grant| grant.expires_at);
            let first = ends.min().and_then(|end| end.duration_since(now).ok());
            sleep = first.map_or(Duration::MAX, |it| it.min(LONGEST_SLEEP));
            if !broker.publish_wills_abroad() {
                // Grants that nobody relies upon now may count again without being others.
                sleep = sleep.min(LONGEST_SLEEP);
            }
            told = Some(in_force);
        }
        tokio::select! {
            changed = changes.changed() => {
                // The directory, which has the sender, is held here.
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Grants by their numbers.
type InForce = HashMap<i64, Arc<TenantGrant>>;

fn tell(audit: &Audit, before: &InForce, after: &InForce, now: SystemTime) {
    let differs =
        |other: &InForce, grant: &TenantGrant| other.get(&grant.id).is_none_or(|it| **it != *grant);
    for grant in before.values().filter(|grant| differs(after, grant)) {
        audit.grant(match grant.is_in_force(now) {
            true => GrantEvent::Withdrawn(grant),
            false => GrantEvent::Expired(grant),
        });
    }
    for grant in after.values().filter(|grant| differs(before, grant)) {
        audit.grant(GrantEvent::Given(grant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_another_tenant_names_it_and_an_ordinary_topic() {
        let table = [
            ("$tenant/acme/a", Some(("acme", "a"))),
            ("$tenant/acme/a/+/#", Some(("acme", "a/+/#"))),
            ("$tenant/acme/#", Some(("acme", "#"))),
            ("$tenant/acme//", Some(("acme", "/"))),
            ("$tenant/é/x", Some(("é", "x"))),
            ("$tenant/acme/", None),
            ("$tenant/acme", None),
            ("$tenant//a", None),
            ("$tenant/", None),
            ("$tenant/+/a", None),
            ("$tenant/#", None),
            ("$tenant/acme/$SYS/x", None),
            ("$tenant/acme/$tenant/globex/x", None),
            ("$tenant/acme/$share/g/x", None),
        ];
        for (topic, expected) in table {
            let found = Abroad::of(topic).map(|it| (it.tenant, it.topic));
            assert_eq!(found, expected, "{topic}");
            assert!(is_abroad(topic), "{topic}");
        }
        for home in
            ["$tenant", "$tenants/acme/a", "$TENANT/acme/a", "a/$tenant/acme/a", "/$tenant/a"]
        {
            assert!(!is_abroad(home) && Abroad::of(home).is_none(), "{home}");
        }
    }
}
