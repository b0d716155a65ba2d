//! Permissions with one client's values in their placeholders: what decides.

use std::fmt;
use std::sync::Arc;

use hookmq_codec::{Qos, TopicName, filter_covers, filter_intersects, filter_matches};
use hookmq_hooks::{Access, Action, Effect};

use super::{Holder, PatternError, Permission, Terms};

/// The permissions of one client, in order of precedence for each action.
#[derive(Debug, Clone, Default)]
pub struct BoundPermissions {
    publish: Box<[Rule]>,
    subscribe: Box<[Rule]>,
    receive: Box<[Rule]>,
    not_applied: Box<[(i64, NotApplied)]>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    permission: Arc<Permission>,
    reach: Reach,
    /// Bytes of the filter before its first wildcard level. Most filters are told from a topic by
    /// these alone.
    literal: usize,
}

/// The topics that a rule speaks for.
#[derive(Debug, Clone)]
enum Reach {
    /// The permission's own text.
    Written,
    /// With the placeholders filled in.
    Filled(Box<str>),
    /// A denial that cannot be read denies everything, rather than nothing.
    Everything,
}

/// Why a permission does not speak for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    #[error("no step has bound the client id, so it is only a claim")]
    ClientIdNotBound,
    #[error("the client has no attribute {name:?}")]
    NoAttribute { name: Box<str> },
    #[error("nobody but the client vouches for its attribute {name:?}")]
    AttributeNotVouched { name: Box<str> },
    #[error("the value of {{{placeholder}}} is empty or holds + # / or a leading $")]
    ValueDoesNotFit { placeholder: Box<str> },
    #[error("its filter cannot be read: {0}")]
    Unreadable(PatternError),
}

/// What the permissions say about one access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    Allow {
        permission: i64,
        /// For subscribe: no more is granted.
        maximum_qos: Qos,
    },
    Deny {
        permission: i64,
        effect: Effect,
        reason: DenialReason,
    },
    /// No permission speaks about it.
    NoMatch,
}

/// What about a permission denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialReason {
    Denied,
    QosAbove { maximum: Qos },
    Retain,
    ShareName,
}

impl BoundPermissions {
    /// Keeps the order of `permissions`.
    pub(super) fn new(permissions: &[Arc<Permission>], holder: &Holder<'_>) -> Self {
        let (mut publish, mut subscribe, mut receive) = (vec![], vec![], vec![]);
        let mut not_applied = vec![];
        for permission in permissions {
            match reach(permission, holder) {
                Ok(reach) => {
                    let rules = match permission.action {
                        Action::Publish => &mut publish,
                        Action::Subscribe => &mut subscribe,
                        Action::Receive => &mut receive,
                    };
                    rules.push(Rule::new(permission.clone(), reach));
                }
                Err(why) => not_applied.push((permission.id, why)),
            }
        }
        Self {
            publish: publish.into(),
            subscribe: subscribe.into(),
            receive: receive.into(),
            not_applied: not_applied.into(),
        }
    }

    /// Whether the holder may. The first permission in order of precedence that speaks decides.
    ///
    /// An allow speaks for a requested filter that it covers, a denial for one that it touches: a
    /// subscription is allowed only as a whole.
    pub fn decide(&self, access: &Access<'_>) -> Ruling {
        let first = self.first_that_speaks(access);
        first.map_or(Ruling::NoMatch, |permission| permission.rule_on(access))
    }

    pub(super) fn first_that_speaks(&self, access: &Access<'_>) -> Option<&Permission> {
        let first = self.rules(access.action).iter().find(|rule| rule.speaks(access));
        first.map(Rule::permission)
    }

    /// In order of precedence.
    pub(super) fn rules(&self, action: Action) -> &[Rule] {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
            Action::Receive => &self.receive,
        }
    }

    /// Whether any permission is about what the holder receives, message by message.
    pub fn speak_of_receive(&self) -> bool {
        !self.receive.is_empty()
    }

    /// The permissions that do not speak for this client, with the reason.
    pub fn not_applied(&self) -> &[(i64, NotApplied)] {
        &self.not_applied
    }
}

fn reach(permission: &Permission, holder: &Holder<'_>) -> Result<Reach, NotApplied> {
    if let Some(wanted) = &permission.only_client_id
        && holder.client_id != Some(wanted)
    {
        return Err(NotApplied::ClientIdNotBound);
    }
    match permission.filter.fill(holder) {
        Ok(None) => Ok(Reach::Written),
        Ok(Some(filter)) => Ok(Reach::Filled(filter)),
        Err(NotApplied::Unreadable(_)) if permission.terms == Terms::Deny => Ok(Reach::Everything),
        Err(why) => Err(why),
    }
}

impl Rule {
    fn new(permission: Arc<Permission>, reach: Reach) -> Self {
        let mut rule = Self { permission, reach, literal: 0 };
        let literal = rule.filter().map(|filter| match filter.find(['+', '#']) {
            Some(wildcard) => wildcard.saturating_sub("/".len()),
            None => filter.len(),
        });
        rule.literal = literal.unwrap_or(0);
        rule
    }

    fn speaks(&self, access: &Access<'_>) -> bool {
        let Some(filter) = self.filter() else { return true };
        let denies = self.permission.terms == Terms::Deny;
        match access.action {
            Action::Subscribe if denies => filter_intersects(filter, access.topic),
            _ if !access.topic.as_bytes().starts_with(&filter.as_bytes()[..self.literal]) => false,
            Action::Subscribe => filter_covers(filter, access.topic),
            Action::Publish | Action::Receive => {
                filter_matches(filter, TopicName::from_checked(access.topic))
            }
        }
    }

    pub(super) fn permission(&self) -> &Permission {
        &self.permission
    }

    /// With the holder's values. None: everything.
    pub(super) fn filter(&self) -> Option<&str> {
        match &self.reach {
            Reach::Written => Some(self.permission.filter.as_str()),
            Reach::Filled(filter) => Some(filter),
            Reach::Everything => None,
        }
    }
}

impl Permission {
    /// What this permission, being the one that decides, says.
    fn rule_on(&self, access: &Access<'_>) -> Ruling {
        let deny = |reason| Ruling::Deny { permission: self.id, effect: self.on_denial, reason };
        let publish = access.action == Action::Publish;
        match self.terms {
            Terms::Deny => deny(DenialReason::Denied),
            Terms::Allow { maximum_qos, .. } if publish && access.qos > maximum_qos => {
                deny(DenialReason::QosAbove { maximum: maximum_qos })
            }
            Terms::Allow { retain: false, .. } if publish && access.retain => {
                deny(DenialReason::Retain)
            }
            Terms::Allow { .. } if !self.share_names.include(access.share_name) => {
                deny(DenialReason::ShareName)
            }
            Terms::Allow { maximum_qos, .. } => Ruling::Allow { permission: self.id, maximum_qos },
        }
    }
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("it denies"),
            Self::QosAbove { maximum } => write!(f, "it allows QoS {} at most", *maximum as u8),
            Self::Retain => f.write_str("it allows no retained message"),
            Self::ShareName => f.write_str("it allows no shared subscription of this name"),
        }
    }
}
