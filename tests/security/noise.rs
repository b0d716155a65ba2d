//! Bytes in every shape: random ones, one at a time, many packets at once.

use hookmq_codec::{Packet, Publish, Qos};
use hookmq_tests::client::{Client, packet_id, publish};
use hookmq_tests::scene::in_both_versions;

use crate::Bystanders;

/// Marsaglia's xorshift: the same bytes in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A valid first byte and length, so that the noise gets as far as the packet's fields.
    fn packet(&mut self) -> Vec<u8> {
        const FIRST_BYTES: [u8; 12] =
            [0x10, 0x30, 0x33, 0x34, 0x3B, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xF0];
        let first_byte = FIRST_BYTES[self.below(12) as usize];
        let length = self.below(100);
        let mut packet = vec![first_byte, length as u8];
        let mut body = self.bytes(length);
        // Small numbers are plausible lengths and packet ids.
        body.iter_mut().take(8).for_each(|byte| *byte %= 8);
        packet.extend(body);
        packet
    }
}

#[test]
fn random_bytes_do_no_harm() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
        for round in 0..2000 {
            let mut client = match round % 4 {
                0 => Client::open(scene.address, scene.version),
                _ => scene.client("noise"),
            };
            let bytes = match round % 3 {
                0 => {
                    let length = noise.below(300);
                    noise.bytes(length)
                }
                _ => (0..5).flat_map(|_| noise.packet()).collect(),
            };
            client.try_send_raw(&bytes);
            client.vanish();
            if round % 100 == 0 {
                bystanders.exchange();
            }
        }
        bystanders.exchange();
        assert!(scene.broker.is_running());
    });
}

/// Every packet cut short at every byte, its sender gone.
#[test]
fn truncated_packets_do_no_harm() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut client = Client::open(scene.address, scene.version);
        let connect = client.encode(&Packet::Connect(Box::new(scene.connect_packet("cut"))));
        let message = publish("topic", b"payload", Qos::ExactlyOnce);
        let message = Publish { packet_id: Some(packet_id(1)), ..message };
        let message = client.encode(&Packet::Publish(message));
        for length in 1..connect.len() {
            client.send_raw(&connect[..length]);
            client.vanish();
            client = Client::open(scene.address, scene.version);
        }
        for length in 1..message.len() {
            client = scene.client("cut");
            client.send_raw(&message[..length]);
            client.vanish();
        }
        bystanders.exchange();
    });
}

/// `[MQTT5-4.2-1]` `[MQTT311-7.1.1-1]`
#[test]
fn packets_that_come_one_byte_at_a_time_are_understood() {
    in_both_versions(|scene| {
        let mut witness = scene.client("witness");
        witness.subscribe("t", Qos::AtMostOnce);
        let mut client = Client::open(scene.address, scene.version);
        let connect = client.encode(&Packet::Connect(Box::new(scene.connect_packet("slow"))));
        for byte in connect {
            client.send_raw(&[byte]);
        }
        assert!(!client.receive().session_present());
        let payload = [b'x'; 200];
        let message = client.encode(&Packet::Publish(publish("t", &payload, Qos::AtMostOnce)));
        for byte in message {
            client.send_raw(&[byte]);
        }
        witness.expect_message("t", &payload);
    });
}

#[test]
fn many_packets_in_one_write_are_all_handled() {
    in_both_versions(|scene| {
        let mut witness = scene.client("witness");
        witness.subscribe("t", Qos::AtLeastOnce);
        let mut client = Client::open(scene.address, scene.version);
        let mut bytes = client.encode(&Packet::Connect(Box::new(scene.connect_packet("quick"))));
        for number in 1..=1000u16 {
            let payload = number.to_be_bytes();
            let message = publish("t", &payload, Qos::AtLeastOnce);
            let message = Publish { packet_id: Some(packet_id(number)), ..message };
            bytes.extend(client.encode(&Packet::Publish(message)));
        }
        bytes.extend(client.encode(&Packet::PingReq));
        client.send_raw(&bytes);
        assert!(!client.receive().session_present());
        for number in 1..=1000 {
            let answer = client.receive_where(|it| matches!(it, Packet::PubAck(_)));
            answer.acknowledges(packet_id(number));
            let received = witness.expect_message("t", &number.to_be_bytes());
            witness.acknowledge(&received);
        }
        client.receive_where(|it| *it == Packet::PingResp);
        client.expect_nothing();
    });
}
