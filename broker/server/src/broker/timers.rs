//! What is to happen to sessions whose clients are away: expiry and delayed wills.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Broker;
use super::session_handle::SessionHandle;
use crate::clock;

/// Something due to a session at an instant, void when the client has connected since.
#[derive(Debug)]
pub struct Event {
    pub session: Weak<SessionHandle>,
    pub epoch: u32,
    /// The session ends; otherwise its will is due.
    pub ends_session: bool,
}

/// Events in the order of their instants. Void ones are thrown out whenever the number has doubled, so
/// that clients which come and go do not fill the memory.
#[derive(Debug, Default)]
pub struct Timers {
    events: Mutex<Events>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Events {
    heap: BinaryHeap<Due>,
    /// How many were left when void ones were last thrown out.
    valid: usize,
}

/// Below this many events nothing is thrown out.
const FEW: usize = 1024;

#[derive(Debug)]
struct Due {
    at: Instant,
    event: Event,
}

impl Event {
    fn is_valid(&self) -> bool {
        self.session.upgrade().is_some_and(|session| session.is_in_epoch(self.epoch))
    }
}

impl Timers {
    pub fn at(&self, at: Instant, event: Event) {
        let mut events = self.events.lock();
        let earlier = events.heap.peek().is_none_or(|first| at < first.at);
        events.heap.push(Due { at, event });
        if events.heap.len() > FEW.max(2 * events.valid) {
            events.heap.retain(|due| due.event.is_valid());
            events.valid = events.heap.len();
        }
        drop(events);
        if earlier {
            self.earlier.notify_one();
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Event> {
        let events = &mut self.events.lock().heap;
        let due = events.peek().is_some_and(|first| first.at <= now);
        due.then(|| events.pop()).flatten().map(|due| due.event)
    }

    fn next(&self) -> Option<Instant> {
        self.events.lock().heap.peek().map(|first| first.at)
    }

    /// Carries the events out as they fall due, for as long as the task lives.
    pub async fn run(broker: Arc<Broker>) {
        loop {
            while let Some(event) = broker.timers.pop_due(clock::now()) {
                broker.handle_timer(event);
            }
            let earlier = broker.timers.earlier.notified();
            match broker.timers.next() {
                None => earlier.await,
                // Both branches only wait, so either may be dropped.
                Some(at) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = earlier => {}
                },
            }
        }
    }
}

impl Ord for Due {
    /// Reversed: the heap gives the greatest first, and the soonest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}
