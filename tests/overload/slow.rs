//! Subscribers that do not keep up, and count what they get.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::broker::Broker;
use hookmq_tests::client::{Client, connect};
use hookmq_tests::wait::DEADLINE;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(5);

/// Answers with nothing between them.
const QUIET: u32 = 20;

pub struct Slow {
    client_id: String,
    client: Client,
    got: u64,
    /// Whether a ping is to be answered.
    asked: bool,
}

impl Slow {
    pub fn subscribe(address: SocketAddr, number: usize, qos: Qos) -> Self {
        let client_id = format!("slow {number}");
        let (mut client, _) = Client::connect(address, connect(ProtocolVersion::V5, &client_id));
        match qos {
            // Messages that nobody shares: what waits for one is not what waits for another.
            Qos::AtMostOnce => client.subscribe(&format!("flood/+/+/{number}"), qos),
            _ => client.subscribe("flood/#", qos),
        }
        Self::of(client_id, client)
    }

    pub fn of(client_id: String, client: Client) -> Self {
        Self { client_id, client, got: 0, asked: false }
    }

    /// Takes one message after the other, as long as there are too many.
    pub fn dawdle(mut self, over: &AtomicBool) -> Self {
        while !over.load(Relaxed) {
            // The answer comes even where there is nothing else.
            self.ask();
            self.take();
            std::thread::sleep(PAUSE);
        }
        self
    }

    pub fn leave(self) {
        self.client.disconnect();
    }

    fn ask(&mut self) {
        if !self.asked {
            self.client.send(&Packet::PingReq);
            self.asked = true;
        }
    }

    /// Takes one packet.
    fn take(&mut self) {
        let received = self.client.receive();
        match received.packet() {
            Packet::Publish(_) => {
                self.got += 1;
                self.client.acknowledge(&received);
            }
            Packet::PingResp => self.asked = false,
            other => panic!("neither a message nor the answer to a ping: {other:?}"),
        }
    }
}

/// Takes all that still waits; gives how many messages have come in all. Nobody publishes any more.
///
/// A turn of the broker answers a ping before it delivers, and what is on the disk comes when it has been
/// read: nothing more comes where nothing has come between many answers, and nothing waits.
pub fn drain(mut slow: Slow, broker: &Broker) -> u64 {
    let (mut quiet, mut latest) = (0, Instant::now());
    while quiet < QUIET || waits(&slow.client_id, broker) {
        assert!(latest.elapsed() < DEADLINE, "what waits for {} does not come", slow.client_id);
        let before = slow.got;
        slow.ask();
        while slow.asked {
            slow.take();
        }
        quiet += 1;
        if slow.got > before {
            (quiet, latest) = (0, Instant::now());
        }
        std::thread::sleep(PAUSE);
    }
    let got = slow.got;
    slow.leave();
    got
}

/// By the admin API.
fn waits(client_id: &str, broker: &Broker) -> bool {
    let (status, body) = broker.admin().get("/api/v1/clients");
    assert_eq!(status, 200, "{body}");
    let items = body["items"].as_array().expect("a list of clients");
    let item = items.iter().find(|it| it["client_id"] == client_id);
    item.expect("the client is connected")["queued"].as_u64() != Some(0)
}
