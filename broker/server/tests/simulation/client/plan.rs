//! Who a client is, and what it does next.

use std::rc::Rc;
use std::time::Duration;

use hookmq_codec::{ProtocolVersion, Qos};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::Client;
use crate::network::Towards;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub version: ProtocolVersion,
    pub keep: Keep,
    pub role: Role,
    pub receive_maximum: u16,
    /// With its delay in seconds.
    pub will: Option<(Qos, u32)>,
    pub is_slow: bool,
    pub operations: usize,
}

/// What of a session outlives its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// For some seconds. Only 5.0 has it.
    Shortly,
    Session,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ordinary,
    /// Of a shared subscription; its session never ends.
    Member,
    /// Sees all wills; its session never ends.
    Witness,
}

/// Seconds.
const LONG: u32 = 24 * 3600;
const SHORT: u32 = 10;

const TOPICS: [&str; 6] = ["t/0", "t/1", "t/2", "r/0", "r/1", "s/0"];
const FILTERS: [&str; 7] = ["t/0", "t/1", "t/+", "t/#", "r/#", "r/0", "w/#"];
const SHARED: &str = "$share/group/s/#";
const WILLS: &str = "w/#";

impl Plan {
    pub fn any(random: &mut StdRng, role: Role) -> Self {
        let is_v5 = random.random_range(0..100) < 60;
        let keep = match random.random_range(0..10) {
            _ if role != Role::Ordinary => Keep::Session,
            0..2 => Keep::Nothing,
            2..4 if is_v5 => Keep::Shortly,
            _ => Keep::Session,
        };
        let delay = if is_v5 && random.random() { random.random_range(0..8) } else { 0 };
        let will = random.random_range(0..100) < 60;
        Self {
            version: if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 },
            keep,
            role,
            receive_maximum: [1, 2, 5, 100][random.random_range(0..4)],
            will: will.then(|| (any_qos(random), delay)),
            is_slow: random.random(),
            operations: random.random_range(20..60),
        }
    }

    /// Seconds.
    pub fn expiry(&self) -> u32 {
        match self.keep {
            Keep::Nothing => 0,
            Keep::Shortly => SHORT,
            Keep::Session => LONG,
        }
    }
}

fn any_qos(random: &mut StdRng) -> Qos {
    Qos::from_bits(random.random_range(0..3)).expect("a QoS")
}

impl Client {
    /// Does what its plan says, until that is done.
    pub async fn live(self: Rc<Self>) {
        for _ in 0..self.plan.operations {
            let pause = if self.chance(20) { 3000 } else { 150 };
            sleep(Duration::from_millis(self.random_below(pause) as u64)).await;
            match self.is_connected() {
                true => self.act(),
                false => self.come(),
            }
        }
    }

    /// Is to be connected: opens one connection, or some that race.
    fn come(self: &Rc<Self>) {
        if !self.half.borrow().open.is_empty() {
            return self.give_up_waiting();
        }
        let is_clean = self.plan.role == Role::Ordinary && self.chance(15);
        let connections = if self.chance(20) { 2 + self.random_below(2) } else { 1 };
        (0..connections).for_each(|_| self.connect(is_clean));
        if self.plan.role != Role::Ordinary || self.chance(70) {
            self.clone().subscribe_first();
        }
    }

    /// Has its first subscription behind CONNACK.
    fn subscribe_first(self: Rc<Self>) {
        let (filter, qos) = match self.plan.role {
            Role::Ordinary => (FILTERS[self.random_below(FILTERS.len())], self.some_qos()),
            Role::Member => (SHARED, Qos::ExactlyOnce),
            Role::Witness => (WILLS, Qos::ExactlyOnce),
        };
        tokio::task::spawn_local(async move {
            for _ in 0..50 {
                sleep(Duration::from_millis(100)).await;
                if self.is_connected() {
                    return self.subscribe(filter, qos);
                }
            }
        });
    }

    fn some_qos(&self) -> Qos {
        any_qos(&mut self.random.borrow_mut())
    }

    fn act(self: &Rc<Self>) {
        let is_ordinary = self.plan.role == Role::Ordinary;
        match self.random_below(100) {
            0..55 => self.publish_some(),
            55..67 if is_ordinary => {
                self.subscribe(FILTERS[self.random_below(FILTERS.len())], self.some_qos());
            }
            67..72 if is_ordinary => self.unsubscribe(FILTERS[self.random_below(FILTERS.len())]),
            72..80 => self.take_over(),
            80..84 => self.leave(self.chance(20)),
            84..88 => self.hang_up(),
            88..95 => {
                if let Some(link) = self.current() {
                    let to_broker = self.chance(50);
                    let towards = if to_broker { Towards::Broker } else { Towards::Client };
                    link.cut_after(towards, self.random_below(400));
                }
            }
            95..98 => {
                if let Some(link) = self.current() {
                    link.hold(Duration::from_millis(self.random_below(8000) as u64));
                }
            }
            _ => {}
        }
    }

    fn publish_some(&self) {
        for _ in 0..=self.random_below(6) {
            let topic = TOPICS[self.random_below(TOPICS.len())];
            let padding = if self.chance(5) { 3000 } else { self.random_below(40) };
            self.publish(topic, self.some_qos(), topic.starts_with('r'), padding);
        }
    }

    /// One or two more connections come for the session that one has.
    fn take_over(self: &Rc<Self>) {
        let is_clean = self.plan.role == Role::Ordinary && self.chance(20);
        (0..=self.random_below(2)).for_each(|_| self.connect(is_clean));
    }
}
