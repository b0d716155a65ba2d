//! Clients that break the rules, and what they cannot do to the broker and to others.

mod authentication;
mod arrival;
mod limits;
mod malformed;
mod memory;
mod noise;
mod oversize;
mod shared_group;
mod stalled;
mod proxy;
mod unix_socket;
mod websocket;

use hookmq_codec::Qos;
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::Scene;

/// Two clients who want nothing but to exchange messages.
struct Bystanders {
    publisher: Client,
    subscriber: Client,
    exchanged: u32,
}

impl Bystanders {
    fn new(scene: &Scene) -> Self {
        Self::of(|client_id| scene.client(client_id))
    }

    /// Who come in as `connect` lets a client id.
    fn of(connect: impl Fn(&str) -> Client) -> Self {
        let mut subscriber = connect("bystander 1");
        subscriber.subscribe("bystanders", Qos::AtLeastOnce);
        Self { publisher: connect("bystander 2"), subscriber, exchanged: 0 }
    }

    /// A message arrives.
    #[track_caller]
    fn exchange(&mut self) {
        self.exchanged += 1;
        let payload = self.exchanged.to_be_bytes();
        self.publisher.publish(publish("bystanders", &payload, Qos::AtLeastOnce));
        let received = self.subscriber.expect_message("bystanders", &payload);
        self.subscriber.acknowledge(&received);
    }
}
