//! What a store has after a power cut, and what of it breaks a promise.

mod group;
mod message;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use hookmq_codec::{Qos, TopicFilter};
use hookmq_store::{Recovery, Reference, SessionKey, StoreOptions};

use super::promises::{Gone, Group, MessageNumber, Promises, Session, Stage, brief};

#[derive(Debug, PartialEq)]
pub struct Found {
    sessions: BTreeMap<String, FoundSession>,
    retained: BTreeMap<String, Vec<u8>>,
    shared: BTreeMap<TopicFilter, FoundGroup>,
}

/// The queue of a shared subscription.
#[derive(Debug, PartialEq)]
struct FoundGroup {
    members: u32,
    queue: Vec<FoundMessage>,
}

#[derive(Debug, PartialEq)]
struct FoundSession {
    expiry_interval: u32,
    subscriptions: BTreeMap<TopicFilter, Qos>,
    received: Vec<u16>,
    will: Option<Vec<u8>>,
    /// In their order.
    queue: Vec<FoundMessage>,
    in_flight: Vec<(u16, Option<FoundMessage>)>,
}

#[derive(Debug, PartialEq)]
struct FoundMessage {
    payload: Vec<u8>,
    qos: Qos,
    /// Milliseconds from when it was stored.
    lifetime: Option<u64>,
}

impl Found {
    /// Opens the store as a broker does. Where it is to `settle`, it is closed as at a graceful end, and
    /// opened again: that must have changed nothing.
    ///
    /// # Errors
    /// Why it is not opened.
    pub fn read(directory: &Path, settle: bool) -> Result<Self, String> {
        let (found, recovery) = Self::open(directory)?;
        if settle {
            let store =
                recovery.serve(|failure| panic!("{failure}")).map_err(|it| it.to_string())?;
            store.close();
            drop(store);
            if Self::open(directory)?.0 != found {
                return Err("closed and opened again, it is another one".into());
            }
        }
        Ok(found)
    }

    fn open(directory: &Path) -> Result<(Self, Recovery), String> {
        let mut recovery =
            Recovery::open(&StoreOptions::new(directory)).map_err(|it| it.to_string())?;
        if let [first, ..] = recovery.damages() {
            return Err(first.to_string());
        }
        let keys: Vec<_> = recovery.index().sessions().map(|it| it.session.clone()).collect();
        let mut sessions = BTreeMap::new();
        for key in keys {
            sessions.insert(key.client_id.to_string(), FoundSession::read(&mut recovery, &key)?);
        }
        let mut retained = BTreeMap::new();
        let take = |key: &hookmq_store::RetainedKey, stored: hookmq_store::StoredMessage| {
            retained.insert(key.topic.to_string(), stored.message.payload().to_vec());
        };
        recovery.for_each_retained(take).map_err(|it| it.to_string())?;
        let shared: Vec<_> = recovery.index().shared().cloned().collect();
        let shared = shared.into_iter().map(|state| {
            let queue = state.queue.iter().map(|it| FoundMessage::read(&mut recovery, it));
            let queue = queue.collect::<Result<_, String>>()?;
            Ok((state.shared.filter, FoundGroup { members: state.members, queue }))
        });
        let shared = shared.collect::<Result<_, String>>()?;
        Ok((Self { sessions, retained, shared }, recovery))
    }

    /// Which promises are broken.
    pub fn judge(&self, promises: &Promises) -> Vec<String> {
        let mut broken = Vec::new();
        for (topic, register) in &promises.retained {
            let found = self.retained.get(topic).cloned();
            if !register.allows(&found) {
                let told = found.as_deref().map(brief);
                broken.push(format!(
                    "retained on {topic} is {told:?}, and may be {:?}",
                    register.values().map(|it| it.as_deref().map(brief)).collect::<Vec<_>>()
                ));
            }
        }
        for topic in self.retained.keys().filter(|it| !promises.retained.contains_key(*it)) {
            broken.push(format!("something is retained on {topic}, and nobody has sent it"));
        }
        for (name, session) in &promises.sessions {
            let found = self.sessions.get(name);
            if session.begins_anew {
                continue;
            }
            if !session.exists.allows(&found.is_some()) {
                broken.push(format!("session {name}: is there: {}", found.is_some()));
            } else if let Some(found) = found {
                let told = found.judge(session, promises);
                broken.extend(told.into_iter().map(|it| format!("session {name}: {it}")));
            }
        }
        for name in self.sessions.keys().filter(|it| !promises.sessions.contains_key(*it)) {
            broken.push(format!("session {name}: nobody has begun it"));
        }
        self.judge_groups(promises, &mut broken);
        self.judge_wholes(promises, &mut broken);
        broken
    }

    /// A message without an answer is in every queue that is due it and in the retained store, or nowhere.
    fn judge_wholes(&self, promises: &Promises, broken: &mut Vec<String>) {
        let messages = promises.messages.iter().enumerate();
        for (number, message) in messages.filter(|(_, it)| !it.acknowledged) {
            let queues = self.sessions.iter().filter_map(|(name, found)| {
                let session = promises.sessions.get(name).filter(|it| !it.begins_anew)?;
                let due = session.due.get(&number)?;
                (due.certain && due.gone == Gone::No).then(|| found.has(&message.name))
            });
            let mut places: Vec<bool> = queues.collect();
            let groups = promises.groups.iter().filter_map(|(filter, group)| {
                let due = group.due.get(&number)?;
                let is_there =
                    || self.of_group(filter).any(|it| brief(&it.payload) == message.name);
                (due.certain && due.gone == Gone::No).then(is_there)
            });
            places.extend(groups);
            if message.retain {
                let retained = self.retained.get(&message.topic);
                places.push(retained.is_some_and(|it| brief(it) == message.name));
            }
            if places.contains(&true) && places.contains(&false) {
                broken.push(format!("{} on {} is there in part", message.name, message.topic));
            }
        }
    }
}

impl FoundSession {
    fn read(recovery: &mut Recovery, key: &SessionKey) -> Result<Self, String> {
        let state = recovery.index().session(key).expect("it was listed").clone();
        let mut message = |reference: &Reference| FoundMessage::read(recovery, reference);
        let queue = state.queue.iter().map(&mut message).collect::<Result<_, String>>()?;
        let in_flight = state.in_flight.iter().map(|slot| {
            let found = slot.message.as_ref().map(&mut message).transpose()?;
            Ok((slot.packet_id.get(), found))
        });
        let in_flight = in_flight.collect::<Result<_, String>>()?;
        let will = state.will.as_ref().map(|will| recovery.message(will.id)).transpose();
        let will = will.map_err(|it| it.to_string())?.map(|it| it.message.payload().to_vec());
        let subscriptions = state.subscriptions.iter();
        Ok(Self {
            expiry_interval: state.expiry_interval,
            subscriptions: subscriptions
                .map(|it| (it.filter.clone(), it.subscription.options.maximum_qos))
                .collect(),
            received: state.received.iter().map(|it| it.get()).collect(),
            will,
            queue,
            in_flight,
        })
    }

    fn judge(&self, session: &Session, promises: &Promises) -> Vec<String> {
        let mut broken = Vec::new();
        self.judge_registers(session, &mut broken);
        self.judge_messages(session, promises, &mut broken);
        self.judge_exchanges(session, promises, &mut broken);
        broken
    }

    fn judge_registers(&self, session: &Session, broken: &mut Vec<String>) {
        for (filter, register) in &session.subscriptions {
            let found = self.subscriptions.get(filter).copied();
            if !register.allows(&found) {
                broken.push(format!("the subscription to {filter:?} is {found:?}"));
            }
        }
        for filter in
            self.subscriptions.keys().filter(|it| !session.subscriptions.contains_key(*it))
        {
            broken.push(format!("nobody has subscribed to {filter:?}"));
        }
        for (id, register) in &session.received {
            let found = self.received.contains(id);
            if !register.allows(&found) {
                broken.push(format!("packet id {id} of QoS 2 is in use: {found}"));
            }
        }
        for id in self.received.iter().filter(|it| !session.received.contains_key(it)) {
            broken.push(format!("packet id {id} of QoS 2 is in use, and nobody has used it"));
        }
        if !session.will.allows(&self.will) {
            broken.push(format!("its will is {:?}", self.will.as_deref().map(brief)));
        }
        if !session.expiry_interval.allows(&self.expiry_interval) {
            broken.push(format!("it outlives its connection by {} s", self.expiry_interval));
        }
    }

    fn messages(&self) -> impl Iterator<Item = &FoundMessage> {
        let in_flight = self.in_flight.iter().filter_map(|(_, message)| message.as_ref());
        in_flight.chain(&self.queue)
    }

    fn has(&self, name: &str) -> bool {
        self.messages().any(|it| brief(&it.payload) == name)
    }

    fn judge_messages(&self, session: &Session, promises: &Promises, broken: &mut Vec<String>) {
        let mut there = BTreeSet::new();
        for found in self.messages() {
            let told = brief(&found.payload);
            let Some(number) = promises.by_payload.get(&found.payload) else {
                broken.push(format!("nobody has sent {told}"));
                continue;
            };
            if !there.insert(*number) {
                broken.push(format!("{told} is there twice"));
            }
            broken.extend(found.judge_lifetime(promises.messages[*number].expiry_interval));
            let of_groups = self.groups(promises).find_map(|group| group.due.get(number));
            match session.due.get(number).or(of_groups) {
                None => broken.push(format!("{told} is due to others")),
                Some(due) if due.gone == Gone::Yes => {
                    broken.push(format!("{told} is back, and PUBREL was sent"));
                }
                Some(due) if due.certain && due.qos != found.qos => {
                    broken.push(format!("{told} has {:?} in place of {:?}", found.qos, due.qos));
                }
                Some(_) => {}
            }
        }
        self.judge_order(promises, broken);
        judge_missing(&there, session, promises, broken);
    }

    /// Of which it is a member.
    fn groups<'a>(&self, promises: &'a Promises) -> impl Iterator<Item = &'a Group> {
        let filters = self.subscriptions.keys().filter(|it| it.share_name().is_some());
        filters.filter_map(|it| promises.groups.get(it))
    }

    /// Each publisher's messages wait in their order.
    fn judge_order(&self, promises: &Promises, broken: &mut Vec<String>) {
        let mut last: HashMap<(u32, u32), MessageNumber> = HashMap::new();
        for found in &self.queue {
            let Some(number) = promises.by_payload.get(&found.payload) else { continue };
            let before = last.insert(promises.messages[*number].publisher, *number);
            if before.is_some_and(|it| it > *number) {
                broken.push(format!("{} comes behind what was sent later", brief(&found.payload)));
            }
        }
    }

    /// A message of QoS 2 that has left keeps its packet id; behind PUBREL only that is left.
    fn judge_exchanges(&self, session: &Session, promises: &Promises, broken: &mut Vec<String>) {
        for (id, exchange) in &session.exchanges {
            let slot = self.in_flight.iter().find(|it| it.0 == *id).map(|(_, found)| {
                let payload = found.as_ref().map(|it| &it.payload);
                payload.map(|it| promises.by_payload.get(it).copied())
            });
            let (with_message, without) = (Some(Some(Some(exchange.message))), Some(None));
            let fits = match exchange.stage {
                Stage::Sent => slot == with_message,
                Stage::Received => slot == with_message || slot == without,
                Stage::Released => slot == without,
                // The packet id may be another message's, which has not left yet.
                Stage::Completed => slot != with_message,
            };
            if !fits {
                let message = &promises.messages[exchange.message].name;
                broken.push(format!(
                    "packet id {id} has {slot:?}, and {message} was {:?}",
                    exchange.stage
                ));
            }
        }
    }
}

/// What was acknowledged is there, and where a message is, all that its publisher sent before.
fn judge_missing(
    there: &BTreeSet<MessageNumber>,
    session: &Session,
    promises: &Promises,
    broken: &mut Vec<String>,
) {
    let mut last: HashMap<(u32, u32), MessageNumber> = HashMap::new();
    for number in there {
        last.insert(promises.messages[*number].publisher, *number);
    }
    let kept = session.due.iter().filter(|(_, due)| due.certain && due.gone == Gone::No);
    for (number, _) in kept.filter(|(number, _)| !there.contains(number)) {
        let message = &promises.messages[*number];
        if message.acknowledged {
            broken.push(format!(
                "{} on {} was acknowledged and is lost",
                message.name, message.topic
            ));
        } else if last.get(&message.publisher).is_some_and(|it| it > number) {
            broken.push(format!("{} on {} is lost between others", message.name, message.topic));
        }
    }
}
