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

/// Messages that come one after the other and go to the same sessions, so that each mailbox is locked once
/// for all of them. Several publishers that hurry to one subscriber would else fight for it.
#[derive(Default)]
pub(super) struct Run {
    to: To,
    /// For one session.
    deliveries: Vec<Delivery>,
    /// For several.
    messages: Vec<Message>,
}

#[derive(Default)]
enum To {
    #[default]
    Nobody,
    One(Arc<SessionHandle>),
    Several(Arc<Recipients>),
}

/// Messages of a run. Longer ones save next to nothing.
const RUN: usize = 64;

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
            [target] if only_sessions => self.post_in_run(target, message),
            _ if only_sessions => self.post_in_run_to_several(recipients, message),
            _ => {
                self.end_run();
                for target in sessions {
                    self.post_to_session(target, &message, retain, Way::Memory);
                }
                for share in shares {
                    self.post_to_share(share, &message);
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
        // A run may still need them as they were.
        if Arc::get_mut(&mut recipients).is_none() {
            recipients = Arc::default();
        }
        if let Some(found) = Arc::get_mut(&mut recipients) {
            route.tree_generation = self.tenant.recipients(topic, self.session, found);
        }
        route.recipients = Some(recipients);
    }

    /// Posts a message that nobody else gets and that is not retained, together with those behind it.
    #[inline]
    fn post_in_run(&mut self, target: &Target, message: Message) {
        let goes_on = matches!(&self.run.to, To::One(session) if Arc::ptr_eq(session, &target.session))
            && self.run.deliveries.len() < RUN;
        if !goes_on {
            self.end_run();
            self.run.to = To::One(target.session.clone());
        }
        self.run.deliveries.push(target.delivery(message, false));
    }

    /// As [`Self::post_in_run`], where several sessions and nobody else get it.
    #[inline]
    fn post_in_run_to_several(&mut self, recipients: &Arc<Recipients>, message: Message) {
        let goes_on = matches!(&self.run.to, To::Several(present) if Arc::ptr_eq(present, recipients))
            && self.run.messages.len() < RUN;
        if !goes_on {
            self.end_run();
            self.run.to = To::Several(recipients.clone());
        }
        self.run.messages.push(message);
    }

    /// Posts what is gathered. Before anything else is posted: messages keep their order.
    #[inline]
    pub(super) fn end_run(&mut self) {
        match std::mem::take(&mut self.run.to) {
            To::Nobody => {}
            To::One(session) => {
                let posted = session.mailbox.post_all(self.run.deliveries.drain(..));
                self.note(posted, || session);
            }
            To::Several(recipients) => {
                for target in &recipients.sessions {
                    let messages = self.run.messages.iter();
                    let deliveries = messages.map(|it| target.delivery(it.clone(), false));
                    let posted = target.session.mailbox.post_all(deliveries);
                    self.note(posted, || target.session.clone());
                }
                self.run.messages.clear();
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
