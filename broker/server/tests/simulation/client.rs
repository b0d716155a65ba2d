//! A client: its half of a session, and what it does by its seed.

mod plan;
mod speech;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode, TopicFilter, decode, frame};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

pub use self::plan::{Keep, Plan, Role};
use crate::history::{Sent, Step, What, Wire};
use crate::network::Link;
use crate::world::World;

pub struct Client {
    pub number: usize,
    pub plan: Plan,
    world: Rc<World>,
    half: RefCell<Half>,
    random: RefCell<StdRng>,
    is_calm: Cell<bool>,
}

/// What a client keeps of its session over its connections.
#[derive(Default)]
struct Half {
    /// Of CONNECT, of the newest connection that was let in.
    serial: usize,
    /// The session ends with that connection.
    is_transient: bool,
    current: Option<Arc<Link>>,
    /// Connections that were begun and are not over, as far as the client knows.
    open: Vec<Arc<Link>>,
    outgoing: VecDeque<Outgoing>,
    /// Packet ids of QoS 2 that the broker has not released.
    incoming: BTreeSet<u16>,
    next_id: u16,
    published: u32,
    /// Connections of which is not known whether they have ended the session, or begun another one.
    /// Until one is answered that came later, the client starts clean.
    unresolved: Vec<Arc<Link>>,
}

struct Outgoing {
    id: u16,
    message: Message,
    is_received: bool,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: Qos,
    pub retain: bool,
}

/// Messages that a client has under way at most.
const WINDOW: usize = 20;

impl Client {
    pub fn new(number: usize, plan: Plan, world: Rc<World>, seed: u64) -> Rc<Self> {
        let random = RefCell::new(StdRng::seed_from_u64(seed));
        let is_calm = Cell::new(false);
        Rc::new(Self { number, plan, world, half: RefCell::default(), random, is_calm })
    }

    pub fn is_connected(&self) -> bool {
        self.half.borrow().current.is_some()
    }

    pub fn is_settled(&self) -> bool {
        let half = self.half.borrow();
        half.current.as_ref().is_some_and(|it| !it.is_over()) && half.outgoing.is_empty()
    }

    /// How it stands, for whoever looks for what is wrong.
    pub fn told(&self) -> String {
        let half = self.half.borrow();
        let current = half.current.as_ref().map(|it| it.number);
        let open: Vec<_> = half.open.iter().map(|it| it.number).collect();
        let under_way: Vec<_> = half.outgoing.iter().map(|it| (it.id, it.is_received)).collect();
        format!("connection {current:?} of {open:?}, under way {under_way:?}")
    }

    pub fn chance(&self, of_a_hundred: u32) -> bool {
        self.random.borrow_mut().random_range(0..100) < of_a_hundred
    }

    pub fn random_below(&self, bound: usize) -> usize {
        self.random.borrow_mut().random_range(0..bound)
    }

    /// Opens another connection, whether there is one or not.
    pub fn connect(self: &Rc<Self>, wants_clean: bool) {
        let Some(link) = self.world.connect(self.number, self.plan.version) else { return };
        let mut half = self.half.borrow_mut();
        half.unresolved.retain(|link| !link.is_dropped() || link.serial().is_some());
        let is_clean =
            wants_clean || !half.unresolved.is_empty() || self.plan.keep == Keep::Nothing;
        if is_clean || self.plan.keep == Keep::Shortly {
            half.unresolved.push(link.clone());
        }
        half.open.push(link.clone());
        drop(half);
        let receive_maximum = self.plan.receive_maximum;
        let heard = match self.world.defect {
            None => (is_clean, receive_maximum),
            Some(defect) => {
                let is_v5 = self.version().is_v5();
                link.ask(is_clean, if is_v5 { receive_maximum } else { u16::MAX });
                defect.hears(is_clean, receive_maximum)
            }
        };
        link.send(&self.connect_packet(&link, heard));
        spawn_local(self.clone().read(link));
    }

    /// Ends all connections without a word.
    pub fn hang_up(&self) {
        let open = std::mem::take(&mut self.half.borrow_mut().open);
        self.half.borrow_mut().current = None;
        open.iter().for_each(|link| link.hang_up());
    }

    pub fn leave(&self, with_will: bool) {
        let Some(link) = self.half.borrow_mut().current.take() else { return };
        link.send(&self.disconnect_packet(with_will));
        self.half.borrow_mut().open.retain(|it| it.number != link.number);
        link.hang_up();
    }

    pub fn current(&self) -> Option<Arc<Link>> {
        self.half.borrow().current.clone()
    }

    pub fn subscribe(&self, filter: &str, qos: Qos) {
        let filter = TopicFilter::new(filter).expect("a filter");
        self.send_with_id(|client, id| client.subscribe_packet(id, filter, qos));
    }

    pub fn unsubscribe(&self, filter: &str) {
        let filter = TopicFilter::new(filter).expect("a filter");
        self.send_with_id(|client, id| client.unsubscribe_packet(id, filter));
    }

    fn send_with_id(&self, packet: impl FnOnce(&Self, u16) -> Vec<u8>) {
        let mut half = self.half.borrow_mut();
        let Some(link) = half.current.clone() else { return };
        let id = half.fresh_id();
        drop(half);
        link.send(&packet(self, id));
    }

    /// Publishes on the current connection, if there is one, and there is room.
    pub fn publish(&self, topic: &str, qos: Qos, retain: bool, padding: usize) {
        let mut half = self.half.borrow_mut();
        if half.current.is_none() || half.outgoing.len() >= WINDOW {
            return;
        }
        half.published += 1;
        let mut payload = format!("{}.{} ", self.number, half.published).into_bytes();
        payload.resize(payload.len() + padding, b'x');
        let message = Message { topic: topic.to_owned(), payload, qos, retain };
        let Some(link) = half.current.clone() else { return };
        let mut id = 0;
        if qos > Qos::AtMostOnce {
            id = half.fresh_id();
            half.outgoing.push_back(Outgoing { id, message: message.clone(), is_received: false });
        }
        drop(half);
        link.send(&self.publish_packet(&message, id, false));
    }

    /// Reads what arrives on one connection until it is over.
    async fn read(self: Rc<Self>, link: Arc<Link>) {
        let mut received = Vec::new();
        while let Some(bytes) = link.receive().await {
            received.extend_from_slice(&bytes);
            while let Some(found) = frame(&received, u32::MAX).expect("whole packets") {
                let length = found.length;
                let packet = decode(found, self.plan.version).expect("packets that can be read");
                let wire = Wire::of(&packet);
                received.drain(..length);
                let answer = self.handle(&link, wire);
                if !answer.is_empty() {
                    self.hesitate().await;
                    link.send(&answer);
                }
            }
        }
        link.hang_up();
        let mut half = self.half.borrow_mut();
        half.open.retain(|it| it.number != link.number);
        half.current.take_if(|it| it.number == link.number);
    }

    /// Takes its time before an acknowledgement, as its plan has it.
    async fn hesitate(&self) {
        if !self.is_calm.get() && self.plan.is_slow {
            let most = if self.chance(10) { 3000 } else { 100 };
            sleep(Duration::from_millis(self.random_below(most) as u64)).await;
        }
    }

    /// Gives the answer.
    fn handle(&self, link: &Arc<Link>, wire: Wire) -> Vec<u8> {
        let serial = link.serial().unwrap_or_default();
        if let Wire::ConnAck { present, code } = wire {
            return match code {
                ReasonCode::Success => self.handle_welcome(link, serial, present),
                _ => Vec::new(),
            };
        }
        let mut half = self.half.borrow_mut();
        if half.serial != serial {
            // A newer connection has the session.
            return Vec::new();
        }
        match wire {
            Wire::Publish(publish) => match publish.qos {
                Qos::AtMostOnce => self.take(link, publish, Vec::new()),
                Qos::AtLeastOnce => {
                    let answer = self.ack_packet(Step::Ack, publish.id);
                    self.take(link, publish, answer)
                }
                Qos::ExactlyOnce => {
                    let answer = self.ack_packet(Step::Rec, publish.id);
                    match half.incoming.insert(publish.id) {
                        true => self.take(link, publish, answer),
                        false => answer,
                    }
                }
            },
            Wire::Ack(Step::Rel, id, _) => {
                half.incoming.remove(&id);
                self.ack_packet(Step::Comp, id)
            }
            Wire::Ack(Step::Rec, id, code) if !code.is_failure() => {
                let found = half.outgoing.iter_mut().find(|it| it.id == id);
                found.into_iter().for_each(|it| it.is_received = true);
                self.ack_packet(Step::Rel, id)
            }
            Wire::Ack(_, id, _) => {
                half.outgoing.retain(|it| it.id != id);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn take(&self, link: &Link, publish: Sent, answer: Vec<u8>) -> Vec<u8> {
        self.world.history.note(link.number, What::Delivered(publish));
        answer
    }

    /// CONNACK: what was under way is sent again, or forgotten with the session.
    fn handle_welcome(&self, link: &Arc<Link>, serial: usize, present: bool) -> Vec<u8> {
        let mut half = self.half.borrow_mut();
        if serial <= half.serial {
            return Vec::new();
        }
        half.current = Some(link.clone());
        let coming = link.coming();
        let newest = half.serial;
        let mut between = half.unresolved.iter().filter_map(|it| it.serial());
        let is_unsure = between.any(|it| it > newest && it < serial);
        half.unresolved.retain(|it| it.serial().is_none_or(|it| it > serial));
        let ends = coming.is_some_and(|it| it.expiry == 0);
        let is_other = std::mem::replace(&mut half.is_transient, ends);
        half.serial = serial;
        if !present || is_other || is_unsure {
            half.outgoing.clear();
            half.incoming.clear();
        }
        let again = half.outgoing.iter().flat_map(|it| match it.is_received {
            true => self.ack_packet(Step::Rel, it.id),
            false => self.publish_packet(&it.message, it.id, true),
        });
        again.collect()
    }

    /// Comes back, and has all acknowledged that it has under way.
    pub async fn settle(self: &Rc<Self>) {
        self.is_calm.set(true);
        let deadline = Instant::now() + Duration::from_secs(180);
        while Instant::now() < deadline && !self.is_settled() {
            if !self.is_connected() && self.half.borrow().open.is_empty() {
                self.connect(false);
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Connections that were not answered in time are given up.
    pub fn give_up_waiting(&self) {
        if !self.is_connected() && self.chance(20) {
            self.hang_up();
        }
    }

    pub fn version(&self) -> ProtocolVersion {
        self.plan.version
    }
}

impl Half {
    fn fresh_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id % 1000 + 1;
            if self.outgoing.iter().all(|it| it.id != self.next_id) {
                return self.next_id;
            }
        }
    }
}
