//! From a publisher into mailboxes.

use std::sync::Arc;

use hookmq_codec::{Qos, ReasonCode, TopicName};
use hookmq_core::{Delivery, Message, Shared};

use super::stored::is_durable;
use super::{Desk, Reply, Route};
use crate::broker::mailbox::{Posted, PostedAll};
use crate::broker::session_handle::SessionHandle;
use crate::broker::share::Share;
use crate::broker::tenant::{Recipients, Target};

/// What a publisher has posted, or is to post, in its turn.
///
/// Messages that come one after the other and go to the same sessions are gathered, so that each mailbox
/// is locked once for all of them. Several publishers that hurry to one subscriber would else fight for it.
#[derive(Default)]
pub(super) struct Turn {
    to: To,
    /// For one session.
    deliveries: Vec<Delivery>,
    /// For several.
    messages: Vec<Message>,
    touched: Vec<Arc<SessionHandle>>,
    pub(super) overflowed: u64,
}

/// Whose the gathered messages are.
#[derive(Default)]
enum To {
    #[default]
    Nobody,
    One(Arc<SessionHandle>),
    Several(Arc<Recipients>),
}

/// Messages that are gathered at the most. More save next to nothing.
const GATHERED: usize = 64;

/// Where a session is given a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Memory,
    /// It is in the store.
    Store,
}

impl Desk {
    /// Posts the message to everybody who is due a copy. `make` is called at most once, and not at all
    /// where nobody wants the message.
    #[inline]
    pub(super) fn post(
        &mut self,
        route: &mut Route,
        topic: TopicName<'_>,
        retain: bool,
        make: impl FnOnce() -> Message,
    ) -> Reply {
        if route.tree_generation != self.tenant.generation() {
            self.find_recipients(route, topic);
        }
        let Some(recipients) = &route.recipients else {
            return Reply::settled(ReasonCode::NoMatchingSubscribers);
        };
        let Recipients { sessions, shares, guests } = &**recipients;
        let only_sessions = shares.is_empty() && guests.is_empty();
        if sessions.is_empty() && only_sessions && !retain {
            return Reply::settled(ReasonCode::NoMatchingSubscribers);
        }
        let message = make();
        let guaranteed = message.qos() > Qos::AtMostOnce && is_durable(recipients, &message);
        if retain || guaranteed || self.along.is_some() {
            return self.store_and_post(recipients, &message, retain);
        }
        match &sessions[..] {
            [target] if only_sessions => self.turn().gather(target, message),
            _ if only_sessions => self.turn().gather_for_several(recipients, message),
            _ => {
                let turn = self.turn();
                turn.post_gathered();
                for target in sessions {
                    turn.post_to_session(target, &message, retain, Way::Memory);
                }
                for share in shares {
                    turn.post_to_share(share, &message);
                }
                if !guests.is_empty() {
                    self.post_to_guests(guests, &message, retain);
                }
            }
        }
        Reply::settled(ReasonCode::Success)
    }

    fn find_recipients(&self, route: &mut Route, topic: TopicName<'_>) {
        let mut recipients = route.recipients.take().unwrap_or_default();
        // What is gathered may still need them as they were.
        if Arc::get_mut(&mut recipients).is_none() {
            recipients = Arc::default();
        }
        if let Some(found) = Arc::get_mut(&mut recipients) {
            route.tree_generation = self.tenant.recipients(topic, self.session, found);
        }
        route.recipients = Some(recipients);
    }

    /// The present turn.
    #[inline]
    pub(super) fn turn(&mut self) -> &mut Turn {
        self.turn.get_or_insert_default()
    }
}

impl Turn {
    /// Wakes each session that was touched, and gives how many messages there was no room for.
    pub(super) fn end(&mut self) -> u64 {
        self.post_gathered();
        for session in self.touched.drain(..) {
            session.mailbox.wake();
        }
        std::mem::take(&mut self.overflowed)
    }

    /// Posts a message that nobody else gets and that is not retained, together with those behind it.
    #[inline]
    fn gather(&mut self, target: &Target, message: Message) {
        let goes_on = matches!(&self.to, To::One(session) if Arc::ptr_eq(session, &target.session))
            && self.deliveries.len() < GATHERED;
        if !goes_on {
            self.post_gathered();
            self.to = To::One(target.session.clone());
        }
        self.deliveries.push(target.delivery(message, false));
    }

    /// As [`Self::gather`], where several sessions and nobody else get it.
    #[inline]
    fn gather_for_several(&mut self, recipients: &Arc<Recipients>, message: Message) {
        let goes_on = matches!(&self.to, To::Several(present) if Arc::ptr_eq(present, recipients))
            && self.messages.len() < GATHERED;
        if !goes_on {
            self.post_gathered();
            self.to = To::Several(recipients.clone());
        }
        self.messages.push(message);
    }

    /// Posts what is gathered. Before anything else is posted: messages keep their order.
    #[inline]
    pub(super) fn post_gathered(&mut self) {
        match std::mem::take(&mut self.to) {
            To::Nobody => {}
            To::One(session) => {
                let posted = session.mailbox.post_all(self.deliveries.drain(..));
                self.note(posted, || session);
            }
            To::Several(recipients) => {
                for target in &recipients.sessions {
                    let messages = self.messages.iter();
                    let deliveries = messages.map(|it| target.delivery(it.clone(), false));
                    let posted = target.session.mailbox.post_all(deliveries);
                    self.note(posted, || target.session.clone());
                }
                self.messages.clear();
            }
        }
    }

    fn note(&mut self, posted: PostedAll, session: impl FnOnce() -> Arc<SessionHandle>) {
        self.overflowed += posted.overflowed;
        if posted.wakes {
            self.touched.push(session());
        }
    }

    #[inline]
    pub(super) fn post_to_session(
        &mut self,
        target: &Target,
        message: &Message,
        retain: bool,
        way: Way,
    ) {
        let mailbox = &target.session.mailbox;
        let delivery = target.delivery(message.clone(), retain);
        let posted = match way {
            Way::Memory => mailbox.post(delivery),
            Way::Store => mailbox.post_stored(delivery),
        };
        match posted {
            Posted::WakeLater => self.touched.push(target.session.clone()),
            Posted::Overflow => self.overflowed += 1,
            Posted::Queued | Posted::Unwanted => {}
        }
    }

    /// Says whether the message waits there now.
    pub(super) fn post_to_share(&mut self, share: &Share, message: &Message) -> bool {
        match share.post(message.clone()) {
            Shared::Call(session) => self.touched.push(session),
            Shared::Queued => {}
            Shared::Unwanted => return false,
            Shared::Overflow => {
                self.overflowed += 1;
                return false;
            }
        }
        true
    }
}
