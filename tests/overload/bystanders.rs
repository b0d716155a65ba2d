//! Two clients that exchange messages while others overload the broker.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, connect, publish};

pub struct Bystanders {
    publisher: Client,
    subscriber: Client,
    sent: u64,
}

impl Bystanders {
    pub fn new(address: SocketAddr) -> Self {
        let client = |id| Client::connect(address, connect(ProtocolVersion::V5, id)).0;
        let (publisher, mut subscriber) = (client("bystander p"), client("bystander s"));
        subscriber.subscribe("quiet/#", Qos::ExactlyOnce);
        Self { publisher, subscriber, sent: 0 }
    }

    /// A message of each QoS, each of which arrives, once and in order; gives how long that took.
    #[track_caller]
    pub fn exchange(&mut self) -> Duration {
        let begin = Instant::now();
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            self.sent += 1;
            let payload = self.sent.to_string().into_bytes();
            let topic = format!("quiet/{}", qos as u8);
            assert!(!self.publisher.publish(publish(&topic, &payload, qos)).is_failure());
            let received = self.subscriber.expect_message(&topic, &payload);
            self.subscriber.acknowledge(&received);
        }
        self.subscriber.send(&Packet::PingReq);
        assert_eq!(self.subscriber.receive().packet(), Packet::PingResp, "nothing came twice");
        begin.elapsed()
    }
}
