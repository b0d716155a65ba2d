//! A shared subscription: its messages wait in one queue, and each goes to one member.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;

use hookmq_codec::Qos;
use rustc_hash::FxBuildHasher;

use crate::{Message, QueueLimits};

/// Which shared subscription a delivery came from; never reused while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedId(pub NonZeroU32);

/// The queue of a shared subscription, and its members by session (MQTT 5.0 section 4.8.2).
///
/// Members fetch messages when they have room for them, so a message is never stuck with a member
/// that is away, slow, or has no window left. A member that finds the queue empty is idle; the next
/// message calls the one that has been idle longest, which spreads messages evenly over members that
/// can take more. While the queue holds something, either a called member has not looked yet, or
/// nobody is idle.
///
/// At the bound a new message is dropped. While every member is away, only what one of them is
/// guaranteed is kept.
#[derive(Debug)]
pub struct SharedQueue<M> {
    messages: VecDeque<Message>,
    bytes: usize,
    limits: QueueLimits,
    members: HashMap<u64, Member<M>, FxBuildHasher>,
    online: usize,
    durable: usize,
    /// Online members that found the queue empty, the longest idle first.
    idle: VecDeque<u64>,
}

#[derive(Debug)]
struct Member<M> {
    handle: M,
    maximum_qos: Qos,
    presence: Presence,
    durable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Online,
    /// Online, and in `idle`.
    Idle,
    /// `holds`: its session keeps messages in flight that another member may have.
    Offline {
        holds: bool,
    },
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared<M> {
    /// Queued; the member, which was idle, is to be woken.
    Call(M),
    /// Queued, and every member is busy or away.
    Queued,
    /// Not queued: the bound is reached.
    Overflow,
    /// Not queued: QoS 0, or granted no more, with every member away.
    Unwanted,
}

impl<M: Clone> SharedQueue<M> {
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            limits,
            members: HashMap::default(),
            online: 0,
            durable: 0,
            idle: VecDeque::new(),
        }
    }

    /// A connected session subscribes, or comes back, or subscribes anew with other options. It is
    /// expected to look into the queue.
    pub fn join(&mut self, session: u64, handle: M, maximum_qos: Qos, durable: bool) {
        let presence = Presence::Online;
        let member = Member { handle, maximum_qos, presence, durable };
        self.online += 1;
        self.durable += usize::from(durable);
        if let Some(before) = self.members.insert(session, member) {
            self.durable -= usize::from(before.durable);
            self.withdraw(session, before.presence);
        }
    }

    /// The session is no member any more. Gives a member to be woken.
    pub fn leave(&mut self, session: u64) -> Option<M> {
        let member = self.members.remove(&session)?;
        self.durable -= usize::from(member.durable);
        self.withdraw(session, member.presence);
        self.call()
    }

    /// The member's connection has gone; its session stays, with messages in flight if it `holds`
    /// some. Gives a member to be woken.
    pub fn set_offline(&mut self, session: u64, holds: bool) -> Option<M> {
        let member = self.members.get_mut(&session)?;
        let before = std::mem::replace(&mut member.presence, Presence::Offline { holds });
        self.withdraw(session, before);
        self.call()
    }

    /// Why a message would not be queued now, if it would not.
    pub fn refuses(&self, message: &Message) -> Option<Shared<M>> {
        let kept = |member: &Member<M>| message.qos().min(member.maximum_qos) > Qos::AtMostOnce;
        if self.online == 0 && !self.members.values().any(kept) {
            return Some(Shared::Unwanted);
        }
        let full = self.messages.len() >= self.limits.messages
            || self.bytes + message.size() > self.limits.bytes;
        full.then_some(Shared::Overflow)
    }

    /// Queues a message for one of the members.
    pub fn post(&mut self, message: Message) -> Shared<M> {
        if let Some(refused) = self.refuses(&message) {
            return refused;
        }
        self.bytes += message.size();
        self.messages.push_back(message);
        match self.call() {
            Some(member) => Shared::Call(member),
            None => Shared::Queued,
        }
    }

    /// Puts messages back that a member could not see through, before all others and in their order;
    /// nothing is dropped for the bound, since they were within it before. Gives a member to be woken.
    pub fn hand_back(&mut self, messages: Vec<Message>) -> Option<M> {
        for message in messages.into_iter().rev() {
            self.bytes += message.size();
            self.messages.push_front(message);
        }
        self.call()
    }

    /// How many messages a member may fetch in one turn, so that each gets a part. An idle one may not:
    /// what waits is for whom it has called.
    pub fn portion(&self, session: u64) -> usize {
        match self.is_idle(session) {
            true => 0,
            false => self.messages.len().div_ceil(self.online.max(1)),
        }
    }

    /// Puts in what waited when the broker was last running, whatever the bound is now.
    pub fn restore(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.bytes += message.size();
            self.messages.push_back(message);
        }
    }

    /// The next message, for whoever has room for it.
    #[inline]
    pub fn fetch(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.size();
        Some(message)
    }

    /// A member has fetched its part and has room for more. Where the queue is empty it is idle from
    /// now on, otherwise another one is given, to be woken for the rest.
    #[inline]
    pub fn rest(&mut self, session: u64) -> Option<M> {
        match self.members.get_mut(&session) {
            Some(Member { presence: presence @ Presence::Online, .. })
                if self.messages.is_empty() =>
            {
                *presence = Presence::Idle;
                self.idle.push_back(session);
                None
            }
            _ => self.pass_on(session),
        }
    }

    /// A member has no room. Where messages wait for it, another one is given, to be woken for them.
    #[inline]
    pub fn pass_on(&mut self, session: u64) -> Option<M> {
        if self.is_idle(session) { None } else { self.call() }
    }

    fn is_idle(&self, session: u64) -> bool {
        self.members.get(&session).is_some_and(|it| it.presence == Presence::Idle)
    }

    /// The members that are away and hold messages in flight, for which a member is here now. Each is
    /// named once.
    pub fn take_holders(&mut self) -> Vec<M> {
        if self.online == 0 {
            return Vec::new();
        }
        let holders = self.members.values_mut().filter_map(|member| {
            let holds = member.presence == (Presence::Offline { holds: true });
            holds.then(|| {
                member.presence = Presence::Offline { holds: false };
                member.handle.clone()
            })
        });
        holders.collect()
    }

    /// Whether somebody else than `session` is connected.
    pub fn has_others_online(&self, session: u64) -> bool {
        let own = self.members.get(&session).is_some_and(|it| it.presence.is_online());
        self.online > usize::from(own)
    }

    /// Whether a message here is guaranteed to a session that outlives its connection.
    pub fn is_durable(&self) -> bool {
        self.durable > 0
    }

    /// Whether nobody is a member any more.
    pub fn is_deserted(&self) -> bool {
        self.members.is_empty()
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of the messages that wait.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn call(&mut self) -> Option<M> {
        if self.messages.is_empty() {
            return None;
        }
        let session = self.idle.pop_front()?;
        let member = self.members.get_mut(&session)?;
        member.presence = Presence::Online;
        Some(member.handle.clone())
    }

    /// What was counted for a member that had this presence.
    fn withdraw(&mut self, session: u64, presence: Presence) {
        self.online -= usize::from(presence.is_online());
        if presence == Presence::Idle {
            self.idle.retain(|&other| other != session);
        }
    }
}

impl Presence {
    fn is_online(self) -> bool {
        matches!(self, Self::Online | Self::Idle)
    }
}

#[cfg(test)]
mod tests {
    use hookmq_codec::TopicName;

    use super::*;
    use crate::NewMessage;

    fn message(payload: &str, qos: Qos) -> Message {
        Message::new(NewMessage {
            topic: TopicName::new("t").unwrap(),
            forwarded_properties: &[],
            payload: payload.as_bytes(),
            qos,
            retain: false,
            expires_at: None,
            publisher: 0,
        })
    }

    fn text(message: Option<Message>) -> Option<String> {
        message.map(|it| String::from_utf8(it.payload().to_vec()).unwrap())
    }

    /// Members 1 to `members`, all idle; a handle is the session's number.
    fn queue(members: u64) -> SharedQueue<u64> {
        let mut queue = SharedQueue::new(QueueLimits { messages: 5, bytes: 10_000 });
        for session in 1..=members {
            queue.join(session, session, Qos::AtLeastOnce, true);
            assert_eq!(queue.rest(session), None);
        }
        queue
    }

    #[test]
    fn messages_call_idle_members_in_turn() {
        let mut queue = queue(3);
        for round in 0..3 {
            for member in 1..=3 {
                assert_eq!(queue.post(message("x", Qos::AtMostOnce)), Shared::Call(member));
                assert_eq!(queue.portion(member), 1, "round {round}");
                queue.fetch().unwrap();
                assert_eq!(queue.rest(member), None);
            }
        }
    }

    #[test]
    fn a_member_that_is_not_called_leaves_the_message_to_the_one_that_is() {
        let mut queue = queue(3);
        assert_eq!(queue.post(message("x", Qos::AtLeastOnce)), Shared::Call(1));
        assert_eq!(queue.portion(3), 0);
        assert_eq!((queue.rest(3), queue.pass_on(3)), (None, None), "nobody else is called");
        assert_eq!(queue.portion(1), 1);
    }

    #[test]
    fn a_called_member_that_cannot_take_more_passes_the_call_on() {
        let mut queue = queue(2);
        assert_eq!(queue.post(message("x", Qos::AtLeastOnce)), Shared::Call(1));
        assert_eq!(queue.rest(1), Some(2));
        assert_eq!(text(queue.fetch()), Some("x".into()));
    }

    #[test]
    fn a_called_member_that_leaves_passes_the_call_on() {
        for depart in [SharedQueue::leave, |queue: &mut _, session| {
            SharedQueue::set_offline(queue, session, false)
        }] {
            let mut queue = queue(2);
            assert_eq!(queue.post(message("x", Qos::AtLeastOnce)), Shared::Call(1));
            assert_eq!(depart(&mut queue, 1), Some(2));
        }
    }

    #[test]
    fn what_is_handed_back_comes_first_and_in_order() {
        let mut queue = queue(1);
        queue.post(message("new", Qos::AtLeastOnce));
        let back = ["1", "2"].map(|payload| message(payload, Qos::AtLeastOnce));
        queue.hand_back(back.into());
        let order: Vec<_> = std::iter::from_fn(|| text(queue.fetch())).collect();
        assert_eq!(order, ["1", "2", "new"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn while_all_are_away_only_the_guaranteed_is_kept() {
        let mut queue = queue(2);
        queue.set_offline(1, false);
        queue.set_offline(2, true);
        assert_eq!(queue.post(message("x", Qos::AtMostOnce)), Shared::Unwanted);
        assert_eq!(queue.post(message("y", Qos::AtLeastOnce)), Shared::Queued);
        assert!(queue.take_holders().is_empty(), "nobody is here to take it over");
        queue.join(1, 1, Qos::AtLeastOnce, true);
        assert_eq!(queue.take_holders(), [2]);
        assert!(queue.take_holders().is_empty());
        assert_eq!(text(queue.fetch()), Some("y".into()));
    }

    #[test]
    fn the_bound_holds() {
        let mut queue = queue(1);
        for _ in 0..5 {
            queue.post(message("x", Qos::AtLeastOnce));
        }
        assert_eq!(queue.post(message("x", Qos::AtLeastOnce)), Shared::Overflow);
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn a_group_that_everybody_left_is_deserted() {
        let mut queue = queue(2);
        assert!(queue.is_durable());
        queue.leave(1);
        queue.set_offline(2, false);
        assert!(!queue.is_deserted());
        queue.leave(2);
        assert!(queue.is_deserted() && !queue.is_durable());
    }
}
