//! rumqttc, the client of many Rust programs, in both versions that it speaks.

mod v311;
mod v5;

use std::collections::VecDeque;
use std::time::Duration;

use hookmq_tests::broker::{Broker, OPEN_LISTENER};
use hookmq_tests::wait::DEADLINE;

use self::v5::V5;
use self::v311::V311;

/// A client of one version, as far as the scenarios need it. It works while it is polled.
trait Protocol: Sized {
    fn open(options: &Options<'_>) -> Self;
    fn subscribe(&self, filter: &str, qos: u8);
    fn publish(&self, topic: &str, payload: &[u8], qos: u8, retain: Retain);
    fn disconnect(&self);
    /// The next event; none where the time is up or the client has left.
    fn poll(&mut self, timeout: Duration) -> Option<Seen>;
}

struct Options<'a> {
    port: u16,
    client_id: &'a str,
    lifetime: Lifetime,
    /// Payload of a will of QoS 1 on the topic `will`.
    will: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    Connection,
    Longer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Retain {
    No,
    Yes,
}

/// What a client has seen of the broker.
enum Seen {
    Connected {
        session_present: bool,
    },
    Subscribed {
        granted: u8,
    },
    /// PUBACK or PUBCOMP.
    Acknowledged,
    Message(Message),
    /// The connection is gone; the next poll makes another.
    Lost,
    Other,
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
}

/// A client and what has come for it. Dropping it loses the connection, without DISCONNECT.
struct Client<P> {
    protocol: P,
    session_present: bool,
    messages: VecDeque<Message>,
}

impl<P: Protocol> Client<P> {
    fn open(options: &Options<'_>) -> Self {
        let protocol = P::open(options);
        let mut client = Self { protocol, session_present: false, messages: VecDeque::new() };
        client.session_present = client.connected();
        client
    }

    /// Waits for CONNACK; says whether the session is present.
    fn connected(&mut self) -> bool {
        self.wait_for("CONNACK", |seen| match seen {
            Seen::Connected { session_present } => Some(session_present),
            _ => None,
        })
    }

    fn subscribe(&mut self, filter: &str, qos: u8) {
        self.protocol.subscribe(filter, qos);
        let granted = self.wait_for("SUBACK", |seen| match seen {
            Seen::Subscribed { granted } => Some(granted),
            _ => None,
        });
        assert_eq!(granted, qos);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: Retain) {
        self.protocol.publish(topic, payload, qos, retain);
        if qos > 0 {
            self.wait_for("PUBACK or PUBCOMP", |seen| {
                matches!(seen, Seen::Acknowledged).then_some(())
            });
        }
    }

    fn next(&mut self) -> Message {
        if let Some(message) = self.messages.pop_front() {
            return message;
        }
        self.wait_for("a message", |seen| match seen {
            Seen::Message(message) => Some(message),
            _ => None,
        })
    }

    #[track_caller]
    fn expect(&mut self, topic: &str, payload: &[u8], qos: u8, retain: Retain) {
        let retain = retain == Retain::Yes;
        let wanted = Message { topic: topic.into(), payload: payload.into(), qos, retain };
        assert_eq!(self.next(), wanted);
    }

    fn leave(mut self) {
        self.protocol.disconnect();
        while self.protocol.poll(DEADLINE).is_some_and(|seen| !matches!(seen, Seen::Lost)) {}
    }

    /// Messages that come before what is waited for are kept.
    fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(Seen) -> Option<T>) -> T {
        loop {
            let seen = self.protocol.poll(DEADLINE);
            match seen.unwrap_or_else(|| panic!("not in time: {what}")) {
                Seen::Message(message) if what != "a message" => self.messages.push_back(message),
                seen => {
                    if let Some(found) = wanted(seen) {
                        return found;
                    }
                }
            }
        }
    }
}

fn options<'a>(broker: &Broker, client_id: &'a str) -> Options<'a> {
    let port = broker.address(OPEN_LISTENER).port();
    Options { port, client_id, lifetime: Lifetime::Connection, will: None }
}

fn client<P: Protocol>(broker: &Broker, client_id: &str) -> Client<P> {
    Client::open(&options(broker, client_id))
}

fn session<P: Protocol>(broker: &Broker, client_id: &str) -> Client<P> {
    Client::open(&Options { lifetime: Lifetime::Longer, ..options(broker, client_id) })
}

fn qualities<P: Protocol>() {
    let broker = Broker::open();
    let mut client = client::<P>(&broker, "qualities");
    client.subscribe("a/+", 2);
    for qos in [0, 1, 2] {
        let payload = vec![qos; 5000];
        client.publish("a/b", &payload, qos, Retain::No);
        client.expect("a/b", &payload, qos, Retain::No);
    }
    client.leave();
}

fn retained<P: Protocol>() {
    let broker = Broker::open();
    let mut publisher = client::<P>(&broker, "publisher");
    publisher.publish("kept", b"x", 1, Retain::Yes);
    let mut late = client::<P>(&broker, "late");
    late.subscribe("kept", 1);
    late.expect("kept", b"x", 1, Retain::Yes);
    publisher.publish("kept", b"", 1, Retain::Yes);
    late.expect("kept", b"", 1, Retain::No);
    let mut later = client::<P>(&broker, "later");
    later.subscribe("kept", 1);
    publisher.publish("kept", b"live", 1, Retain::No);
    later.expect("kept", b"live", 1, Retain::No);
}

fn wills<P: Protocol>() {
    let broker = Broker::open();
    let mut witness = client::<P>(&broker, "witness");
    witness.subscribe("will", 1);
    let mortal = Options { will: Some("gone"), ..options(&broker, "mortal") };
    drop(Client::<P>::open(&mortal));
    witness.expect("will", b"gone", 1, Retain::No);
    let leaving = Options { will: Some("never"), ..options(&broker, "leaves") };
    Client::<P>::open(&leaving).leave();
    witness.publish("will", b"end", 1, Retain::No);
    witness.expect("will", b"end", 1, Retain::No);
}

fn sessions<P: Protocol>() {
    let broker = Broker::open();
    let mut keeper = session::<P>(&broker, "keeper");
    assert!(!keeper.session_present);
    keeper.subscribe("a", 2);
    keeper.leave();
    let mut publisher = client::<P>(&broker, "publisher");
    for number in 0..20 {
        publisher.publish("a", &[number], 1 + number % 2, Retain::No);
    }
    let mut keeper = session::<P>(&broker, "keeper");
    assert!(keeper.session_present);
    // QoS 2 may take a round more, so only messages of one QoS keep their order.
    let mut got: Vec<_> =
        (0..20).map(|_| keeper.next()).map(|it| (it.qos, it.payload[0])).collect();
    got.sort_by_key(|(qos, _)| *qos);
    let evens = (0..20).step_by(2).map(|number| (1, number));
    assert_eq!(got, evens.chain((1..20).step_by(2).map(|number| (2, number))).collect::<Vec<_>>());
    keeper.leave();
    assert!(!client::<P>(&broker, "keeper").session_present);
}

fn reconnects<P: Protocol>() {
    let broker = Broker::open_with(crate::LIMITS);
    let mut keeper = session::<P>(&broker, "keeper");
    keeper.subscribe("a", 1);
    let (status, _) = broker.admin().delete("/api/v1/clients/default/keeper");
    assert!((200..300).contains(&status), "{status}");
    assert!(keeper.connected());
    keeper.publish("a", b"across", 1, Retain::No);
    keeper.expect("a", b"across", 1, Retain::No);
}

/// Plays a scenario in both versions.
macro_rules! play {
    ($scenario:ident) => {{
        $scenario::<V311>();
        $scenario::<V5>();
    }};
}

#[test]
fn messages_of_every_quality_go_both_ways() {
    play!(qualities);
}

#[test]
fn a_retained_message_waits_until_it_is_cleared() {
    play!(retained);
}

#[test]
fn a_will_is_published_for_who_is_lost_and_not_for_who_leaves() {
    play!(wills);
}

#[test]
fn a_session_keeps_what_comes_while_its_client_is_away() {
    play!(sessions);
}

#[test]
fn a_client_that_is_disconnected_comes_back_and_goes_on() {
    play!(reconnects);
}
