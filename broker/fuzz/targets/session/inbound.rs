//! The other direction: a client publishes, the session accepts and acknowledges.

use std::collections::VecDeque;

use hookmq_codec::{PacketId, ReasonCode};
use hookmq_core::{Acknowledgement, AcknowledgementKind, CommitSequence, Incoming, Received};

/// A client's outgoing messages, one id each, and the session's side of them.
pub struct Inbound {
    incoming: Incoming,
    /// By id - 1.
    ids: Vec<Exchange>,
    /// Acknowledgements that are due, in order, with their commits.
    due: VecDeque<(AcknowledgementKind, PacketId, CommitSequence)>,
    last_commit: u64,
    durable: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Exchange {
    /// How often the session has accepted the QoS 2 message that the id stands for now.
    accepted: u32,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Free,
    Published,
    Recorded,
    Released,
}

const IDS: usize = 8;
const RECEIVE_MAXIMUM: u16 = 8;

impl Default for Inbound {
    fn default() -> Self {
        Self {
            incoming: Incoming::new(RECEIVE_MAXIMUM),
            ids: vec![Exchange::default(); IDS],
            due: VecDeque::new(),
            last_commit: 0,
            durable: 0,
        }
    }
}

impl Inbound {
    pub fn step(&mut self, what: u8, value: u8) {
        let place = usize::from(value) % IDS;
        match what % 3 {
            0 => self.publish_or_release(place, value & 0x80 != 0),
            1 => self.durable = (self.durable + u64::from(value % 4)).min(self.last_commit),
            _ => self.poll(),
        }
    }

    /// The client's next packet for an id: a new QoS 2 message, or the same one again, or PUBREL.
    fn publish_or_release(&mut self, place: usize, stored: bool) {
        let id = PacketId::new(place as u16 + 1).expect("not zero");
        let exchange = &mut self.ids[place];
        match exchange.state {
            State::Free | State::Published => {
                let received = self.incoming.handle_qos2(id).expect("within the receive maximum");
                if exchange.state == State::Free {
                    exchange.accepted = 0;
                }
                exchange.state = State::Published;
                exchange.accepted += u32::from(received == Received::First);
                assert_eq!(exchange.accepted, 1, "accepted once, however often it comes");
                self.acknowledge(AcknowledgementKind::PubRec, id, stored);
            }
            State::Recorded | State::Released => {
                let again = exchange.state == State::Released;
                exchange.state = State::Released;
                let reason_code = self.incoming.handle_pubrel(id);
                assert!(reason_code == ReasonCode::Success || again);
                self.acknowledge(AcknowledgementKind::PubComp, id, false);
            }
        }
    }

    fn acknowledge(&mut self, kind: AcknowledgementKind, packet_id: PacketId, stored: bool) {
        let commit = match stored {
            false => CommitSequence::NONE,
            true => {
                self.last_commit += 1;
                CommitSequence(self.last_commit)
            }
        };
        let reason_code = ReasonCode::Success;
        self.incoming.acknowledge(Acknowledgement { kind, packet_id, reason_code }, commit);
        self.due.push_back((kind, packet_id, commit));
    }

    /// The next acknowledgement leaves, and the client takes it in.
    fn poll(&mut self) {
        let durable = CommitSequence(self.durable);
        let expected = self.due.front().filter(|(_, _, commit)| *commit <= durable);
        let Some(sent) = self.incoming.poll_acknowledgement(durable) else {
            assert!(expected.is_none(), "an acknowledgement is kept back");
            return;
        };
        let (kind, id, commit) = self.due.pop_front().expect("nothing is acknowledged unasked");
        assert_eq!((sent.kind, sent.packet_id), (kind, id), "acknowledged in order");
        assert!(commit <= durable, "acknowledged before it is durable");
        let exchange = &mut self.ids[usize::from(id.get()) - 1];
        exchange.state = match (kind, exchange.state) {
            (AcknowledgementKind::PubRec, State::Published) => State::Recorded,
            (AcknowledgementKind::PubComp, State::Released) => State::Free,
            (_, other) => other,
        };
    }

    /// The connection is lost, and with it what was to be acknowledged.
    pub fn reconnect(&mut self) {
        self.due.clear();
        self.incoming.handle_disconnected();
        self.incoming.handle_connected(RECEIVE_MAXIMUM);
    }

    pub fn settle(&mut self) {
        self.reconnect();
        for place in 0..IDS {
            while self.ids[place].state != State::Free {
                self.publish_or_release(place, true);
                self.durable = self.last_commit;
                while !self.due.is_empty() {
                    self.poll();
                }
            }
        }
        assert!(self.incoming.awaited_commit().is_none());
    }
}
