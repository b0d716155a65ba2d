//! A store on a file system that has no more room.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use hookmq_codec::{Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::Client;
use hookmq_tests::faults::SmallDisk;
use hookmq_tests::wait::wait_until;

use crate::Stage;
use crate::published::{LONG_QUEUE, expect_numbers, receive_number, send};

/// Bytes of a message.
const SIZE: usize = 256 << 10;

const MEBIBYTES: u64 = 128;

const ROOM_FULL: &str = "store_room{state=\"full\"}";

/// A broker whose store has a small disk, and a session of `s` that is away.
struct Scene {
    stage: Stage,
    disk: SmallDisk,
}

/// Plays `scenario` for 3.1.1 and for 5.0, where a file system can be mounted.
fn on_a_small_disk(sections: &str, scenario: impl Fn(&mut Scene)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        let mut stage = Stage::new(version, &format!("{LONG_QUEUE}{sections}"));
        stage.flush();
        assert!(stage.broker.terminate().success());
        let place = stage.broker.directory().join("data/store");
        let Some(disk) = SmallDisk::over(&place, MEBIBYTES) else { return };
        stage.broker.start_under(disk.enter());
        stage.away("s", "t", Qos::AtLeastOnce);
        scenario(&mut Scene { stage, disk });
    }
}

/// The next packet is an answer to PUBLISH. 3.1.1 has no other refusal than the end of the connection.
fn is_taken(publisher: &mut Client) -> bool {
    let Some(answer) = publisher.try_receive() else {
        assert!(!publisher.version.is_v5(), "closed without a word");
        return false;
    };
    let Packet::PubAck(ack) = answer.packet() else { panic!("{:?}", answer.packet()) };
    match ack.reason_code {
        ReasonCode::Success => true,
        ReasonCode::QuotaExceeded => false,
        other => panic!("{other:?}"),
    }
}

impl Scene {
    /// One message, on a connection of its own.
    fn publish(&self, number: u32) -> bool {
        let mut publisher = self.stage.client("p");
        send(&mut publisher, number, SIZE);
        is_taken(&mut publisher)
    }

    /// Publishes messages from this number on until one is refused, whose number it gives.
    fn publish_until_refused(&self, first: u32) -> u32 {
        (first..2000).find(|number| !self.publish(*number)).expect("the disk is small")
    }

    /// A client that has taken all up to this number, and nothing else.
    fn drain(&self, numbers: std::ops::Range<u32>) -> Client {
        let mut subscriber = self.stage.resume("s");
        expect_numbers(&mut subscriber, numbers);
        subscriber.expect_nothing();
        subscriber
    }

    /// Messages are taken again, without anybody's doing.
    fn wait_for_room(&self, number: u32) {
        wait_until("messages are taken again", || self.publish(number).then_some(()));
    }

    fn is_full(&self) -> bool {
        self.stage.broker.admin().metric(ROOM_FULL) == 1
    }

    /// A file of somebody else's takes all that is free.
    fn fill(&self) -> PathBuf {
        let path = self.disk.path().join("foreign");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4096] {
            let bytes = vec![1; size];
            let error = std::iter::repeat_with(|| file.write_all(&bytes)).find_map(Result::err);
            assert_eq!(error.map(|it| it.kind()), Some(ErrorKind::StorageFull));
        }
        path
    }

    fn restart(&mut self) {
        self.stage.broker.kill();
        self.stage.broker.start_under(self.disk.enter());
    }
}

#[test]
fn a_disk_that_publishers_have_filled_takes_no_messages_until_their_subscriber_has_made_room() {
    on_a_small_disk("", |scene| {
        let refused = scene.publish_until_refused(1);
        assert!(refused > 100, "most of the disk is for messages, not for {refused}");
        assert!(scene.is_full());
        // What is not to be stored goes on, and so do sessions.
        scene.stage.client("transient").subscribe("t", Qos::AtMostOnce);
        scene.stage.session("durable").disconnect();
        scene.restart();
        let mut subscriber = scene.drain(1..refused);
        scene.wait_for_room(refused + 1);
        expect_numbers(&mut subscriber, [refused + 1]);
        subscriber.disconnect();
        scene.stage.flush();
        scene.restart();
        scene.drain(0..0);
    });
}

#[test]
fn a_disk_that_somebody_else_has_filled_takes_no_messages_until_there_is_room_again() {
    on_a_small_disk("", |scene| {
        const BEFORE: u32 = 40;
        assert!((1..=BEFORE).all(|number| scene.publish(number)));
        let foreign = scene.fill();
        let refused = scene.publish_until_refused(BEFORE + 1);
        assert!(scene.is_full());
        // Its deletions find room in what was set aside.
        scene.drain(1..refused).disconnect();
        scene.stage.flush();
        assert!(!scene.publish(refused + 1), "there is no room yet");
        std::fs::remove_file(foreign).unwrap();
        scene.wait_for_room(refused + 2);
        scene.restart();
        scene.drain(refused + 2..refused + 3);
    });
}

/// SQLite itself meets the end of the disk, within a transaction.
#[test]
fn what_finds_no_room_waits_for_it_and_is_not_acknowledged_meanwhile() {
    const BEFORE: u32 = 40;
    const MORE: u32 = 80;
    for broker_is_killed in [false, true] {
        on_a_small_disk("store: {nearly_full: 0}\n", |scene| {
            assert!((1..=BEFORE).all(|number| scene.publish(number)));
            let foreign = scene.fill();
            let reserve = scene.disk.path().join("reserve");
            assert!(reserve.exists());
            let mut publisher = scene.stage.session("p");
            // More than what was set aside, and less than may wait in memory.
            (BEFORE + 1..=BEFORE + MORE).for_each(|number| send(&mut publisher, number, SIZE));
            scene.stage.broker.wait_for_log("the disk is full: no new messages are taken");
            wait_until("a transaction waits", || {
                let waiting = scene.stage.broker.admin().metric("store_waiting") > 0;
                (waiting && scene.is_full() && !reserve.exists()).then_some(())
            });
            if broker_is_killed {
                scene.stage.broker.kill();
            }
            std::fs::remove_file(foreign).unwrap();
            let mut taken = Vec::new();
            let mut unanswered = BEFORE + 1..=BEFORE + MORE;
            // 3.1.1 is closed at the first that is refused, without answers to those before it that wait.
            while let Some(is_taken) = publisher_is_told(&mut publisher) {
                let number = unanswered.next().expect("no more were published");
                taken.extend(is_taken.then_some(number));
                if unanswered.is_empty() {
                    break;
                }
            }
            if broker_is_killed {
                scene.stage.broker.start_under(scene.disk.enter());
                let mut subscriber = scene.stage.resume("s");
                return expect_numbers(&mut subscriber, (1..=BEFORE).chain(taken));
            }
            let next = BEFORE + MORE + 1;
            scene.wait_for_room(next);
            let mut subscriber = scene.stage.resume("s");
            expect_numbers(&mut subscriber, (1..=BEFORE).chain(taken.clone()));
            // Nobody knows of the unanswered ones, but they are stored in their order.
            let stored = std::iter::repeat_with(|| receive_number(&mut subscriber))
                .take_while(|number| *number != next)
                .inspect(|number| assert_eq!(Some(*number), unanswered.next()))
                .count();
            assert!(taken.len() + stored > 8, "what had begun to be written: {taken:?}, {stored}");
            subscriber.expect_nothing();
        });
    }
}

/// Whether the next answer takes a message; none at the end of the connection.
fn publisher_is_told(publisher: &mut Client) -> Option<bool> {
    let answer = publisher.try_receive()?;
    let Packet::PubAck(ack) = answer.packet() else { return None };
    Some(!ack.reason_code.is_failure())
}
