//! What reading and writing a packet costs: processor time.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hookmq_bench::{CpuTime, PAYLOAD, TOPIC};
use hookmq_codec::{
    OutgoingPublish, Packet, PacketId, ProtocolVersion, Publish, PublishProperties, Qos, Subscribe,
    SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName, decode, frame,
};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

fn topic() -> TopicName<'static> {
    TopicName::new(TOPIC).expect("a topic name")
}

fn publish(qos: Qos) -> Packet<'static> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(topic()),
        packet_id: (qos != Qos::AtMostOnce).then_some(PacketId::MIN),
        topic_alias: None,
        properties: PublishProperties::default(),
        payload: PAYLOAD,
    })
}

fn subscribe(filters: usize) -> Packet<'static> {
    let filter =
        |number| TopicFilter::new(format!("sites/{number}/devices/+/#")).expect("a filter");
    let options = SubscriptionOptions::default();
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::MIN,
        filters: (0..filters).map(|number| (filter(number), options)).collect(),
        properties: SubscribeProperties::default(),
    })
}

fn packets() -> [(&'static str, Packet<'static>); 4] {
    [
        ("publish_64_bytes_qos_0", publish(Qos::AtMostOnce)),
        ("publish_64_bytes_qos_1", publish(Qos::AtLeastOnce)),
        ("subscribe_1_filter", subscribe(1)),
        ("subscribe_10_filters", subscribe(10)),
    ]
}

/// From the bytes of a socket to the packet.
fn decoding(criterion: &mut Criterion<CpuTime>) {
    for version in VERSIONS {
        let mut group = criterion.benchmark_group(format!("decode/{}", version.name()));
        for (name, packet) in packets() {
            let mut bytes = Vec::new();
            packet.encode(version, &mut bytes).expect("a packet of this version");
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(name, |it| {
                it.iter(|| {
                    let frame = frame(black_box(&bytes), u32::MAX).expect("a frame");
                    black_box(decode(frame.expect("all of it"), version).expect("a packet"));
                });
            });
        }
    }
}

/// To the bytes of a socket, into a buffer that has room.
fn encoding(criterion: &mut Criterion<CpuTime>) {
    for version in VERSIONS {
        let mut group = criterion.benchmark_group(format!("encode/{}", version.name()));
        let mut bytes = Vec::with_capacity(4096);
        for (name, packet) in packets() {
            group.bench_function(name, |it| {
                it.iter(|| {
                    bytes.clear();
                    black_box(&packet).encode(version, &mut bytes).expect("a packet");
                });
            });
        }
        // What a subscriber gets.
        let delivery = OutgoingPublish {
            topic: topic(),
            payload: PAYLOAD,
            dup: false,
            qos: Qos::AtLeastOnce,
            retain: false,
            packet_id: Some(PacketId::MIN),
            message_expiry_interval: None,
            topic_alias: None,
            omit_topic: false,
            subscription_identifiers: &[],
            forwarded_properties: &[],
        };
        group.bench_function("delivery_64_bytes_qos_1", |it| {
            it.iter(|| {
                bytes.clear();
                black_box(&delivery).encode(version, &mut bytes);
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decoding, encoding
}
criterion_main!(benches);
