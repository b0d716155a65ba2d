//! A shared subscription of two sessions, and messages that expire some day.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hookmq_codec::{Packet, ProtocolVersion, Publish, PublishProperties, Qos};
use hookmq_tests::client::{Client, publish};

use super::{Traffic, answer};
use crate::Stage;

const FILTER: &str = "$share/group/s/#";

/// Between two looks at what has come.
const PAUSE: Duration = Duration::from_millis(2);

/// Seconds: far more than anything here takes.
const LIFETIME: u32 = 36_000;

/// A member, in whose place nobody else gets what it has.
pub fn come(stage: &Stage, client_id: &str) -> Client {
    let mut client = stage.session(client_id);
    client.subscribe(FILTER, Qos::ExactlyOnce);
    client
}

/// Takes what comes. Of every seventh message nothing is said, so that some are always under way.
pub fn share(mut client: Client, over: &AtomicBool) -> Client {
    let mut number = 0;
    client.send(&Packet::PingReq);
    while !over.load(Relaxed) {
        let received = client.receive();
        match received.packet() {
            // The answer comes even where there is nothing else.
            Packet::PingResp => {
                std::thread::sleep(PAUSE);
                client.send(&Packet::PingReq);
            }
            packet => {
                number += u32::from(matches!(packet, Packet::Publish(_)));
                if number % 7 != 0 {
                    answer(&mut client, &packet);
                }
            }
        }
    }
    client
}

/// For some of them, by number, where there are any in this version.
pub fn lasting(version: ProtocolVersion, number: u32) -> PublishProperties<'static> {
    let expires = version.is_v5() && number.is_multiple_of(3);
    let message_expiry_interval = expires.then_some(LIFETIME + number);
    PublishProperties { message_expiry_interval, ..PublishProperties::default() }
}

impl Traffic {
    pub fn publish_to_group(self, stage: &Stage) {
        let mut client = stage.client("to group");
        for number in 0..self.messages / 2 {
            let payload = self.payload("shared", number, 60);
            let qos = [Qos::AtLeastOnce, Qos::ExactlyOnce][number as usize % 2];
            let properties = lasting(stage.version, number);
            let message = publish("s/1", &payload, qos);
            client.publish(Publish { properties, ..message });
        }
        client.disconnect();
    }
}
