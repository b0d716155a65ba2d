//! Random changes and restarts: the store and a naive model hold the same at every moment.

use std::num::NonZeroU32;

use hookmq_codec::{PacketId, Qos};
use hookmq_store::engine::Engine;
use hookmq_store::{
    Change, CheckpointBounds, MessageId, NewRecord, NewWill, Opening, QueueKey, QueuedCopy,
    SentCopy, SessionKey, UnixMillis,
};

use crate::picture::{Picture, read};
use crate::random::{Random, seeds};
use crate::scenes::{NOW, filter_of, load, session, shared, subscribed};
use crate::simulated::SimulatedDisk;
use crate::suite::{MemoryDisk, SqliteDisk};

/// So small that checkpoints are under way nearly always, over many commits.
pub const TINY: CheckpointBounds = CheckpointBounds { log: 500, piece: 150, trim: 3 };

const CLIENTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const FILTERS: [&str; 4] = ["a/+", "#", "$share/g/a/b", "$share/h/#"];

/// Makes changes that mostly concern something that is there.
#[derive(Debug, Clone)]
pub struct Traffic {
    pub random: Random,
    pub next_id: u64,
    /// Given to a connection that has not appended yet.
    late: Option<u64>,
    expiry: Expiry,
}

/// Whether the broker sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Swept,
    /// As the fixture of version 1 has it.
    Unswept,
}

impl Traffic {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), next_id: 1, late: None, expiry: Expiry::Swept }
    }

    /// What the fixture of version 1 was made of.
    pub fn of_version_1(seed: u64) -> Self {
        Self { expiry: Expiry::Unswept, ..Self::new(seed) }
    }

    /// The changes of one packet, applied to `picture`.
    pub fn commit(&mut self, picture: &mut Picture) -> Vec<Change> {
        let count = 1 + self.random.below(3);
        let mut changes = Vec::new();
        for _ in 0..count {
            let change = self.change(picture);
            picture.apply(&change);
            changes.push(change);
        }
        changes
    }

    fn change(&mut self, picture: &Picture) -> Change {
        if self.expiry == Expiry::Swept && self.random.once_in(12) {
            return Change::Expired { at: self.some_time() };
        }
        let client = *self.random.pick(&CLIENTS).unwrap();
        let session = session(client);
        let filter = *self.random.pick(&FILTERS).unwrap();
        let at = UnixMillis(NOW.0 + self.random.next() % 1_000_000);
        match self.random.below(20) {
            0 | 1 => {
                let clean = self.random.once_in(3);
                Change::SessionOpened {
                    session,
                    username: client.to_uppercase().into(),
                    expiry_interval: self.random.below(100) as u32,
                    epoch: self.random.below(100) as u32,
                    opening: if clean { Opening::Clean } else { Opening::Resumed },
                }
            }
            2 if self.expiry == Expiry::Swept && self.random.once_in(3) => {
                Change::SessionLost { session, at }
            }
            2 => Change::SessionClosed { session, at, expiry_interval: 9 },
            3 if self.random.once_in(2) => Change::SessionEnded { session },
            3 | 4 => subscribed(client, filter),
            5 => Change::Unsubscribed { session, filter: filter_of(filter) },
            6 => {
                let (record, expiry_interval) = (self.record(), Some(self.random.below(9) as u32));
                Change::WillSet { session, will: NewWill { record, delay: 3, expiry_interval } }
            }
            7 if self.random.once_in(2) => {
                let will = picture.sessions.get(&session).and_then(|it| it.will.as_ref());
                let id = will.map(|will| will.message.0).filter(|_| self.random.once_in(2));
                let id = id.unwrap_or_else(|| self.some_id(picture));
                Change::WillCleared { session, id }
            }
            7 => Change::WillScheduled { session, at },
            8 => {
                let mut record = self.record();
                if self.random.once_in(4) {
                    record = crate::scenes::record(record.id, b"");
                }
                Change::Retained { tenant: "t".into(), record }
            }
            9 if self.expiry == Expiry::Swept && self.random.once_in(4) => Change::Trimmed {
                queue: self.queue(&session),
                messages: self.random.below(6),
                bytes: self.random.below(2_000),
                after: match self.random.below(2) {
                    0 => MessageId(0),
                    _ => self.some_id(picture),
                },
            },
            9 if self.expiry == Expiry::Swept && self.random.once_in(2) => {
                Change::Taken { session, id: self.some_id(picture) }
            }
            9 | 10 => Change::Dequeued { queue: self.queue(&session), id: self.some_id(picture) },
            11 => {
                let (from, to) = (self.queue(&session), self.queue(&session));
                Change::Moved { from, to, id: self.some_id(picture) }
            }
            12 | 13 => {
                let known = picture.sessions.get(&session);
                let ids: Vec<_> =
                    known.into_iter().flat_map(|it| it.queue.keys().copied()).collect();
                let id = self.random.pick(&ids).copied().unwrap_or_default();
                let qos = if self.random.once_in(2) { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                let used =
                    |id: &u16| known.is_some_and(|it| it.in_flight.iter().any(|it| it.0 == *id));
                let number = (self.packet_id().get()..).find(|id| !used(id));
                let packet_id = PacketId::new(number.unwrap()).unwrap();
                let (retain, shared) = (self.random.once_in(2), self.random.once_in(3));
                let copy = SentCopy { qos, retain, shared };
                Change::PacketIdAssigned { session, id, copy, packet_id }
            }
            14 => Change::Released { session, packet_id: self.packet_id() },
            15 => match self.random.below(3) {
                0 => Change::Completed { session, packet_id: self.packet_id() },
                1 => Change::Received { session, packet_id: self.packet_id() },
                _ => Change::ReceivedReleased { session, packet_id: self.packet_id() },
            },
            _ => self.queued(),
        }
    }

    fn queued(&mut self) -> Change {
        let mut copies: Vec<QueuedCopy> = Vec::new();
        for client in CLIENTS {
            let queue = self.queue(&session(client));
            if self.random.once_in(2) && copies.iter().all(|it| it.queue != queue) {
                let identifiers: Vec<_> = (0..self.random.below(3))
                    .map(|it| NonZeroU32::new(it as u32 + 1).unwrap())
                    .collect();
                let qos = if self.random.once_in(2) { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                let subscription_identifiers = Some(identifiers.into());
                let retain = self.random.once_in(2);
                copies.push(QueuedCopy { queue, qos, retain, subscription_identifiers });
            }
        }
        Change::Queued { record: self.record(), copies }
    }

    fn record(&mut self) -> NewRecord {
        // Two connections take ids and append in either order.
        let id = match self.late.take() {
            Some(late) if self.random.once_in(2) => late,
            late => {
                self.late = late;
                self.next_id += 1;
                self.next_id - 1
            }
        };
        if self.late.is_none() && self.random.once_in(6) {
            self.late = Some(self.next_id);
            self.next_id += 1;
        }
        let payload = vec![id as u8; 1 + self.random.below(300)];
        let expires_at = self.random.once_in(3).then(|| match self.expiry {
            Expiry::Swept => self.some_time(),
            Expiry::Unswept => UnixMillis(NOW.0 + id),
        });
        NewRecord { expires_at, ..crate::scenes::record(MessageId(id), &payload) }
    }

    /// In steps that meet the ends of seconds, and do not.
    fn some_time(&mut self) -> UnixMillis {
        UnixMillis(NOW.0 + 250 * self.random.below(80) as u64)
    }

    fn queue(&mut self, session: &SessionKey) -> QueueKey {
        match self.random.below(4) {
            0 => QueueKey::Shared(shared("$share/g/a/b")),
            1 => QueueKey::Shared(shared("$share/h/#")),
            _ => QueueKey::Session(session.clone()),
        }
    }

    fn some_id(&mut self, picture: &Picture) -> MessageId {
        let queues = picture.sessions.values().map(|it| &it.queue).chain(picture.shared.values());
        let waiting = queues.flat_map(|it| it.keys().copied());
        let in_flight = picture.sessions.values().flat_map(|it| &it.in_flight);
        let in_flight = in_flight.filter_map(|it| it.1.as_ref().map(|it| it.0));
        let ids: Vec<_> = waiting.chain(in_flight).collect();
        self.random.pick(&ids).copied().unwrap_or_default()
    }

    fn packet_id(&mut self) -> PacketId {
        PacketId::new(1 + self.random.below(6) as u16).unwrap()
    }
}

/// What an engine leaves behind when its process ends.
pub trait Disk {
    fn engine(&self) -> Box<dyn Engine>;
}

fn the_store_and_the_model_agree(disk: &dyn Disk, seed: u64, steps: usize) {
    let mut traffic = Traffic::new(seed);
    let mut picture = Picture::default();
    let mut ledger = load(disk.engine(), TINY);
    for step in 0..steps {
        let count = traffic.random.below(5);
        let commits: Vec<_> = (0..count).map(|_| traffic.commit(&mut picture)).collect();
        ledger.commit(&commits, MessageId(traffic.next_id), NOW).unwrap();
        if traffic.random.once_in(40) {
            ledger.finish(NOW).unwrap();
        }
        if traffic.random.once_in(8) {
            let before = ledger.last_commit();
            drop(ledger);
            ledger = load(disk.engine(), TINY);
            picture.restart();
            assert_eq!(ledger.last_commit(), before);
            assert_eq!(ledger.next_id(), MessageId(traffic.next_id));
        }
        if traffic.random.once_in(3) {
            assert_eq!(read(&mut ledger), picture, "seed {seed}, step {step}");
            let (told, due) = (ledger.index().next_expiry(), picture.next_expiry());
            // Never too late; too early where the first one has gone.
            let is_told = due.is_none_or(|due| told.is_some_and(|told| told.0 <= due));
            assert!(is_told, "seed {seed}, step {step}: {told:?} for {due:?}");
        }
    }
}

#[test]
fn the_model_and_memory_agree() {
    for seed in seeds(300) {
        the_store_and_the_model_agree(&MemoryDisk::default(), seed, 150);
    }
}

#[test]
fn the_model_and_sqlite_agree() {
    for seed in seeds(12) {
        the_store_and_the_model_agree(&SqliteDisk::default(), seed, 150);
    }
}

#[test]
fn the_model_and_redb_agree() {
    for seed in seeds(12) {
        the_store_and_the_model_agree(&SimulatedDisk::default(), seed, 150);
    }
}
