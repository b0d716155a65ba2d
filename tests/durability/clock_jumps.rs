//! The wall clock is set while the broker runs, and while it is down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, PublishProperties, Qos};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::{Client, connect, connect_to_session, publish};

use crate::Stage;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long a session lasts, and a message that is to end soon.
const SESSION_S: u32 = 5 * DAY as u32;
const BRIEF_S: u32 = HOUR as u32 / 2;

/// Where the clock is put, seen from the true time, and the year that it shows then.
fn jumps() -> Vec<(&'static str, i64)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    vec![
        ("an hour ahead", HOUR),
        ("an hour back", -HOUR),
        ("a year ahead", YEAR),
        ("a year back", -YEAR),
        ("1970", 5 - now),
        ("2038", i64::from(i32::MAX) - 1 - now),
        ("2106", i64::from(u32::MAX) - 1 - now),
    ]
}

/// A broker whose wall clock can be set.
struct Clock {
    stage: Stage,
    shim: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// None where there is nothing to compile the shim with.
    fn new() -> Option<Self> {
        let mut stage = Stage::new(ProtocolVersion::V5, "");
        stage.broker.kill();
        let directory = stage.broker.directory();
        let (shim, offset) = (directory.join("clock.so"), directory.join("offset"));
        if !compile(&shim) {
            eprintln!("SKIPPED: there is no C compiler");
            return None;
        }
        let mut clock = Self { stage, shim, offset };
        clock.set(0);
        clock.start();
        Some(clock)
    }

    fn set(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let mut file = fs::File::options();
        let file = file.write(true).create(true).truncate(false).open(&self.offset).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn start(&mut self) {
        let mut env = Command::new("env");
        env.arg(format!("LD_PRELOAD={}", self.shim.display()));
        env.arg(format!("CLOCK_OFFSET={}", self.offset.display()));
        self.stage.broker.start_under(env);
        self.stage.broker.address(OPEN_LISTENER);
    }

    fn crash(&mut self) {
        self.stage.broker.kill();
        self.start();
    }

    /// By the broker's log.
    fn year(&self) -> i32 {
        let line = self.stage.broker.wait_for_log("listening listener=");
        line.get(..4).and_then(|year| year.parse().ok()).expect("the line begins with the year")
    }

    fn session(&self, client_id: &str) -> (Client, bool) {
        let connect = connect_to_session(ProtocolVersion::V5, client_id, SESSION_S);
        let (client, answer) = Client::connect(self.stage.broker.address(OPEN_LISTENER), connect);
        (client, answer.session_present())
    }

    /// Leaves a session that is due a message without end, one for half an hour and one for ten years.
    fn leave(&self, client_id: &str) {
        let (mut client, _) = self.session(client_id);
        client.subscribe(&format!("{client_id}/#"), Qos::AtLeastOnce);
        client.disconnect();
        let mut publisher = self.stage.client("author");
        for (name, expiry) in [("plain", None), ("brief", Some(BRIEF_S)), ("long", Some(LONG_S))] {
            let topic = format!("{client_id}/{name}");
            let message = publish(&topic, name.as_bytes(), Qos::AtLeastOnce);
            let properties =
                PublishProperties { message_expiry_interval: expiry, ..message.properties.clone() };
            publisher.publish(Publish { properties, ..message });
        }
        publisher.disconnect();
    }

    /// The session is there and is due these messages, none of which lasts longer than it was to.
    #[track_caller]
    fn expect(&self, client_id: &str, names: &[&str]) {
        let (mut client, is_there) = self.session(client_id);
        assert!(is_there, "the session of {client_id} is forgotten");
        for name in names {
            let received = client.expect_message(&format!("{client_id}/{name}"), name.as_bytes());
            let expiry = received.publish().properties.message_expiry_interval;
            let most = match *name {
                "plain" => None,
                "brief" => Some(BRIEF_S),
                _ => Some(LONG_S),
            };
            assert_eq!(expiry.is_some(), most.is_some(), "{name}");
            assert!(expiry <= most, "{name} has {expiry:?} seconds");
            client.acknowledge(&received);
        }
        client.expect_nothing();
        client.disconnect();
    }
}

const LONG_S: u32 = 10 * YEAR as u32;

fn compile(shim: &Path) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("durability/clock_jumps/shim.c");
    let compiler = std::env::var_os("CC").unwrap_or("cc".into());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(shim).arg(source);
    match command.status() {
        Ok(status) => {
            assert!(status.success(), "the shim cannot be compiled");
            true
        }
        Err(_) => false,
    }
}

/// Messages of each QoS pass, and are acknowledged.
fn exchange(stage: &Stage) {
    let mut subscriber = stage.client("reader");
    subscriber.subscribe("passing", Qos::ExactlyOnce);
    let mut publisher = stage.client("author");
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        assert!(!publisher.publish(publish("passing", b"x", qos)).is_failure());
        let received = subscriber.expect_message("passing", b"x");
        subscriber.acknowledge(&received);
    }
    subscriber.expect_nothing();
}

#[test]
fn while_the_broker_runs_no_setting_of_the_clock_is_noticed() {
    let Some(clock) = Clock::new() else { return };
    let pinging =
        |client_id, keep_alive| Connect { keep_alive, ..connect(ProtocolVersion::V5, client_id) };
    let mut alive = clock.stage.connect(pinging("alive", 120));
    for (number, (name, offset)) in jumps().into_iter().enumerate() {
        eprintln!("{name}:");
        let kept = format!("kept-{number}");
        clock.leave(&kept);
        clock.set(offset);
        exchange(&clock.stage);
        clock.expect(&kept, &["plain", "brief", "long"]);
        alive.send(&Packet::PingReq);
        assert_eq!(alive.receive().packet(), Packet::PingResp, "it is not late");
        let (status, _) = clock.stage.broker.admin().get("/api/v1/clients");
        assert_eq!(status, 200);
    }
    // Whoever is silent for one and a half seconds is late, wherever the clock stands.
    let began = std::time::Instant::now();
    let mut silent = clock.stage.connect(pinging("silent", 1));
    while silent.try_receive().is_some() {}
    assert!(began.elapsed() >= Duration::from_secs(1), "it was closed before it was late");
}

#[test]
fn a_broker_that_starts_at_another_time_loses_what_has_expired_by_it_and_nothing_else() {
    for (name, offset) in jumps() {
        eprintln!("{name}:");
        let Some(mut clock) = Clock::new() else { return };
        let before = clock.year();
        clock.leave("kept");
        let retained = publish("retained", b"x", Qos::AtLeastOnce);
        clock.stage.client("author").publish(Publish { retain: true, ..retained });
        clock.set(offset);
        clock.crash();
        let (years, year) = ((offset / YEAR) as i32, clock.year());
        assert!((years - 1..=years + 1).contains(&(year - before)), "the clock shows {year}");
        exchange(&clock.stage);
        let mut reader = clock.stage.client("reader");
        reader.subscribe("retained", Qos::AtMostOnce);
        reader.expect_message("retained", b"x");
        if offset > i64::from(SESSION_S) {
            assert!(!clock.session("kept").1, "its time is over");
        } else if offset > i64::from(BRIEF_S) {
            clock.expect("kept", &["plain", "long"]);
        } else {
            clock.expect("kept", &["plain", "brief", "long"]);
        }
        // What began there goes on when the clock is right again.
        clock.leave("later");
        clock.set(0);
        clock.crash();
        let is_long_past = offset < -i64::from(SESSION_S);
        let is_past = offset < -i64::from(BRIEF_S);
        match (is_long_past, is_past) {
            (true, _) => assert!(!clock.session("later").1, "its time is over"),
            (false, true) => clock.expect("later", &["plain", "long"]),
            (false, false) => clock.expect("later", &["plain", "brief", "long"]),
        }
        assert!(clock.stage.broker.terminate().success());
    }
}
