//! A thousand wills at once, and a broker that is killed again while it publishes them.

use std::collections::BTreeMap;

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode, Will};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::{Client, connect, connect_to_session, will};
use hookmq_tests::wait::wait_until;

use crate::Stage;

const CLIENTS: usize = 1000;

/// Clients that connect together: the broker bounds how many are between accept and CONNACK.
const TOGETHER: usize = 50;

/// How a client goes, and what becomes of its will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is connected when the broker is killed; seconds of the will's delay.
    Killed { delay: u32 },
    /// The same, and the session ends with the connection.
    Passing,
    /// It has gone without a word, and its will waits.
    Vanished { delay: u32 },
    /// DISCONNECT, which asks for the will all the same.
    Asked,
    /// DISCONNECT.
    Polite,
    /// Its will is not due as long as the test lasts.
    Later,
}

const ENDS: [End; 8] = [
    End::Killed { delay: 0 },
    End::Killed { delay: 1 },
    End::Killed { delay: 3 },
    End::Passing,
    End::Vanished { delay: 2 },
    End::Asked,
    End::Polite,
    End::Later,
];

impl End {
    fn of(number: usize) -> Self {
        ENDS[number % ENDS.len()]
    }

    fn delay(self) -> u32 {
        match self {
            Self::Killed { delay } | Self::Vanished { delay } => delay,
            Self::Later => 3600,
            Self::Passing | Self::Asked | Self::Polite => 0,
        }
    }

    /// Whether the will is published while the test lasts.
    fn has_will(self) -> bool {
        !matches!(self, Self::Polite | Self::Later)
    }

    /// 3.1.1 knows no delays, and no DISCONNECT with a will.
    fn version(self, number: usize) -> ProtocolVersion {
        let is_old = matches!(self, Self::Killed { delay: 0 } | Self::Passing | Self::Polite);
        match is_old && (number / ENDS.len()).is_multiple_of(2) {
            true => ProtocolVersion::V311,
            false => ProtocolVersion::V5,
        }
    }
}

fn topic(number: usize) -> String {
    format!("will/{number}")
}

/// All clients are connected, each with its will.
fn arrive(stage: &Stage) -> Vec<(End, Client)> {
    let address = stage.broker.address(OPEN_LISTENER);
    let mut clients = Vec::with_capacity(CLIENTS);
    for first in (0..CLIENTS).step_by(TOGETHER) {
        let connecting = (first..CLIENTS.min(first + TOGETHER)).map(|number| {
            let end = End::of(number);
            let (version, client_id) = (end.version(number), format!("c{number}"));
            let begin = match end {
                End::Passing => connect(version, &client_id),
                _ => connect_to_session(version, &client_id, 7200),
            };
            let topic = topic(number);
            let will = Will { delay_interval: end.delay(), ..will(&topic, client_id.as_bytes()) };
            let mut client = Client::open(address, version);
            let packet = Connect { will: Some(will), ..begin };
            client.send(&hookmq_codec::Packet::Connect(Box::new(packet)));
            (end, client)
        });
        let connecting: Vec<_> = connecting.collect();
        for (end, mut client) in connecting {
            match client.receive().packet() {
                hookmq_codec::Packet::ConnAck(it) if it.reason_code == ReasonCode::Success => {}
                other => panic!("not admitted: {other:?}"),
            }
            clients.push((end, client));
        }
    }
    clients
}

/// Those who go before the broker does; gives the others.
fn leave(clients: Vec<(End, Client)>) -> Vec<Client> {
    let mut left = Vec::new();
    for (end, client) in clients {
        match end {
            End::Vanished { .. } => client.vanish(),
            End::Asked => client.disconnect_with(ReasonCode::DisconnectWithWill, None),
            End::Polite => client.disconnect(),
            End::Killed { .. } | End::Passing | End::Later => left.push(client),
        }
    }
    left
}

/// What waits for the witness, who is away, so that nothing that comes twice could be taken for one
/// delivery that is tried again.
fn waiting(stage: &Stage) -> usize {
    let sessions = stage.sessions();
    let witness = sessions.iter().find(|(client_id, _)| client_id == "witness");
    witness.expect("the witness is not forgotten").1 as usize
}

#[test]
fn each_of_a_thousand_wills_is_published_once_however_often_the_broker_is_killed() {
    let mut stage = Stage::new(ProtocolVersion::V5, "limits: {queue_messages: 100000}\n");
    stage.away("witness", "will/#", Qos::AtLeastOnce);
    let left = leave(arrive(&stage));
    let due = (0..CLIENTS).filter(|number| End::of(*number).has_will()).count();
    stage.flush();
    stage.crash();
    drop(left);
    // While wills that are due at once are published, and others wait.
    stage.crash();
    wait_until("the wills are published", || (waiting(&stage) >= due).then_some(()));
    stage.flush();
    stage.crash();
    assert_eq!(waiting(&stage), due, "wills that wait for their subscriber");

    let mut witness = stage.resume("witness");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..due {
        let received = witness.receive();
        witness.acknowledge(&received);
        *counts.entry(received.publish().topic.unwrap().to_string()).or_default() += 1;
    }
    let expected = (0..CLIENTS).filter(|number| End::of(*number).has_will());
    let expected: BTreeMap<_, _> = expected.map(|number| (topic(number), 1)).collect();
    assert_eq!(counts, expected);
    witness.expect_nothing();
}
