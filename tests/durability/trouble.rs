//! A store that is damaged, in use, or fails.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, Qos, Will};
use hookmq_tests::client::{Client, connect, connect_to_session, packet_id, publish, will};
use hookmq_tests::wait::wait_until;

use crate::{Stage, in_both_versions};

/// What a client has published until the broker closed, a number in each, and had acknowledged.
#[derive(Debug, Default)]
struct Published {
    numbers: u16,
    acknowledged: u16,
}

/// Publishes messages of this size at QoS 1, at most 20 of them unacknowledged.
fn publish_until_closed(publisher: &mut Client, size: usize) -> Published {
    let mut published = Published::default();
    loop {
        while published.numbers < published.acknowledged + 20 {
            published.numbers += 1;
            let mut payload = vec![0; size];
            payload[..2].copy_from_slice(&published.numbers.to_be_bytes());
            let message = publish("t", &payload, Qos::AtLeastOnce);
            let packet_id = Some(packet_id(published.numbers));
            let bytes = publisher.encode(&Packet::Publish(Publish { packet_id, ..message }));
            publisher.try_send_raw(&bytes);
        }
        let Some(answer) = publisher.try_receive() else { return published };
        match answer.packet() {
            Packet::PubAck(ack) => {
                published.acknowledged += 1;
                assert_eq!(ack.packet_id, packet_id(published.acknowledged));
                assert!(!ack.reason_code.is_failure(), "{:?}", ack.reason_code);
            }
            Packet::Disconnect(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// All that was acknowledged is there, in its order and once.
fn expect_published(subscriber: &mut Client, published: &Published) {
    for number in 1..=published.acknowledged {
        let received = subscriber.receive();
        assert_eq!(received.publish().payload[..2], number.to_be_bytes());
        subscriber.acknowledge(&received);
    }
}

const LONG_QUEUE: &str = "limits: {queue_messages: 100000, queue_bytes: 1073741824}\n";

#[test]
fn a_broker_whose_disk_fails_ends_and_what_it_has_acknowledged_is_there() {
    in_both_versions(|stage| {
        *stage = Stage::new(stage.version, LONG_QUEUE);
        stage.away("s", "t", Qos::AtLeastOnce);
        assert!(stage.broker.terminate().success());
        stage.broker.start_on_failing_disk(12 << 10);
        let published = publish_until_closed(&mut stage.client("p"), 100 * 1024);
        assert!(published.acknowledged > 0, "the disk failed too early");
        assert!(!stage.broker.wait_for_end().success());
        let log = stage.broker.log();
        assert!(log.contains("nothing is acknowledged any more"), "{log}");
        stage.broker.start();
        expect_published(&mut stage.resume("s"), &published);
    });
}

#[test]
fn a_broker_that_is_told_to_stop_under_load_keeps_what_it_has_acknowledged_and_fires_no_wills() {
    in_both_versions(|stage| {
        *stage = Stage::new(stage.version, LONG_QUEUE);
        stage.away("witness", "will", Qos::AtLeastOnce);
        stage.away("s", "t", Qos::AtLeastOnce);
        let version = stage.version;
        let mortal = |client| {
            let will = Will { qos: Qos::AtLeastOnce, ..will("will", b"gone") };
            stage.connect(Connect { will: Some(will), ..client })
        };
        let mut publisher = mortal(connect(version, "p"));
        let _passing = mortal(connect(version, "passing"));
        let _lasting = mortal(connect_to_session(version, "lasting", 3600));
        let published = std::thread::scope(|threads| {
            let publishing = threads.spawn(|| publish_until_closed(&mut publisher, 2000));
            wait_until("messages are on their way", || {
                (stage.sessions().iter().any(|it| it.0 == "s" && it.1 > 100)).then_some(())
            });
            assert!(stage.broker.terminate().success());
            publishing.join().unwrap()
        });
        stage.broker.start();
        expect_published(&mut stage.resume("s"), &published);
        stage.resume("witness").expect_nothing();
    });
}

#[test]
fn a_damaged_store_is_told_and_not_served() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    stage.away("s", "t", Qos::AtLeastOnce);
    stage.client("p").publish(publish("t", &[7; 5000], Qos::AtLeastOnce));
    assert!(stage.broker.terminate().success());
    let file = stage.broker.directory().join("data/store/store.sqlite");
    let bytes = std::fs::read(&file).unwrap();
    let place = bytes.windows(100).position(|it| it == [7; 100]).expect("the payload is there");
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(&[8], place as u64 + 50).unwrap();
    stage.broker.start();
    assert!(!stage.broker.wait_for_end().success());
    let log = stage.broker.log();
    assert!(log.contains("the store is damaged") && log.contains("checksum"), "{log}");
}
