//! A broker that takes clients at their word, and looks up what they may in a database.

use std::io::{Read, Write};
use std::net::TcpStream;

use hookmq_codec::{
    Packet, PacketId, ProtocolVersion, Qos, Subscribe, SubscribeProperties, SubscriptionOptions,
    TopicFilter,
};
use hookmq_tests::broker::{Broker, add_rules};
use hookmq_tests::client::connect;
use hookmq_tests::wait::wait_until;
use tempfile::TempDir;

const RULE: &str = "//! Everybody is who they say.
fn connect(client) { accept(#{ tenant: \"acme\", username: client.claimed_client_id }) }
";

/// Of the database at `url`, whose tables it has made.
pub fn broker(url: &str, directory: TempDir) -> Broker {
    add_rules(directory.path(), &[("word", RULE)]);
    let yaml = format!(
        "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
rules: {{dir: rules}}
database: {{url: \"{url}\"}}
permissions: {{on_revocation: unsubscribe}}
pipeline:
  connect: [{{rule: word, control: required}}, {{builtin: database}}]
  authorize: [{{builtin: database}}]
"
    );
    let broker = Broker::with_config(&yaml, directory);
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    broker
}

/// Rows of these columns for each of so many devices: of the number `n`, as SQL.
pub fn for_each_device(devices: usize, columns: &str, values: &str) -> String {
    format!(
        "INSERT INTO {columns} WITH RECURSIVE device (n) AS
            (SELECT 0 UNION ALL SELECT n + 1 FROM device WHERE n < {})
        SELECT {values} FROM device;",
        devices - 1
    )
}

/// Whether the client is let in on this socket.
pub fn admitted(socket: &mut TcpStream, name: &str) -> bool {
    send(socket, &Packet::Connect(Box::new(connect(ProtocolVersion::V5, name))));
    let mut connack = [0; 256];
    let length = socket.read(&mut connack).expect("an answer");
    // Fixed header, session present, reason code.
    length > 4 && connack[3] == 0
}

pub fn send(socket: &mut TcpStream, packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    packet.encode(ProtocolVersion::V5, &mut bytes).expect("a short packet");
    socket.write_all(&bytes).expect("the broker reads");
}

/// At QoS 0; all are granted.
pub fn subscribe(socket: &mut TcpStream, filters: &[&str]) {
    let options =
        SubscriptionOptions { maximum_qos: Qos::AtMostOnce, ..SubscriptionOptions::default() };
    let wanted = filters.iter().map(|it| (TopicFilter::new(*it).expect("a filter"), options));
    let subscribe = Subscribe {
        packet_id: PacketId::new(1).expect("not 0"),
        filters: wanted.collect(),
        properties: SubscribeProperties::default(),
    };
    send(socket, &Packet::Subscribe(subscribe));
    let mut suback = [0; 256];
    let length = socket.read(&mut suback).expect("an answer");
    let codes = &suback[length - filters.len()..length];
    assert!(codes.iter().all(|code| *code == 0), "all are granted");
}
