//! A broker whose clients authenticate by SCRAM-SHA-256, and who they are.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use hookmq_codec::{
    Auth, AuthProperties, ConnAck, Connect, ConnectProperties, Packet, ProtocolVersion, ReasonCode,
};

use crate::broker::{Broker, directory, hookmq};
use crate::client::{Client, Received, connect};
use crate::scram::ScramClient;
use crate::wait::wait_until;

/// The only method of a [`Guarded`] broker.
pub const SCRAM: &str = "SCRAM-SHA-256";

/// The password of every principal.
pub const PASSWORD: &str = "pencil";

/// A broker with the principals `pump` and `valve`, who may do anything below `open/`, and on the site
/// that their attribute `site` names. `locked` may not in.
pub struct Guarded {
    pub broker: Broker,
    pub address: SocketAddr,
}

impl Guarded {
    /// `sections` are more of the configuration.
    pub fn new(sections: &str) -> Self {
        Self::with_step("{builtin: scram, config: {tenant: acme, iterations: 4096}}", sections)
    }

    /// `step` authenticates.
    pub fn with_step(step: &str, sections: &str) -> Self {
        let yaml = format!(
            "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
database: {{url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}}
{sections}
pipeline:
  connect:
    - {step}
    - builtin: database
  authorize: [{{builtin: database}}]
"
        );
        let broker = Broker::with_config(&yaml, directory());
        let guarded = Self { address: broker.address("plain"), broker };
        let admin = guarded.broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
        guarded.execute(&seed());
        guarded
    }

    /// Changes the tables with the database's own client.
    pub fn execute(&self, sql: &str) {
        let mut client = Command::new("sqlite3");
        client.args(["-bail", "-cmd", ".timeout 10000", "-cmd", "PRAGMA foreign_keys = ON"]);
        client.arg(self.broker.directory().join("data/hookmq.db")).arg(sql);
        let output = client.output().expect("apt-get install sqlite3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Connects as `username`, whose client id is the same.
    pub fn client(&self, username: &str) -> Client {
        let scram = ScramClient::new(username, PASSWORD);
        let (client, connack) = self.attempt(username, &scram);
        assert_eq!(connack_of(&connack).reason_code, ReasonCode::Success);
        client
    }

    /// Goes through the whole exchange; gives whatever the answer is.
    pub fn attempt(&self, client_id: &str, scram: &ScramClient) -> (Client, Received) {
        let (mut client, challenge) = self.begin(client_id, scram);
        let last = scram.last(data_of(&challenge));
        client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, last.message.as_bytes()));
        let answer = client.receive();
        (client, answer)
    }

    /// Sends CONNECT and is challenged.
    pub fn begin(&self, client_id: &str, scram: &ScramClient) -> (Client, Received) {
        let first = scram.first();
        Client::attempt(self.address, connect_by(SCRAM, client_id, Some(first.as_bytes())))
    }
}

/// CONNECT with an authentication method.
pub fn connect_by<'a>(method: &'a str, client_id: &'a str, data: Option<&'a [u8]>) -> Connect<'a> {
    let properties = ConnectProperties {
        authentication_method: Some(method),
        authentication_data: data,
        ..ConnectProperties::default()
    };
    Connect { properties, ..connect(ProtocolVersion::V5, client_id) }
}

pub fn auth<'a>(reason_code: ReasonCode, method: &'a str, data: &'a [u8]) -> Packet<'a> {
    let properties = AuthProperties {
        authentication_method: Some(method),
        authentication_data: Some(data),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason_code, properties })
}

/// Begins to authenticate again and is challenged.
pub fn begin_again(client: &mut Client, scram: &ScramClient) -> Received {
    client.send(&auth(ReasonCode::ReAuthenticate, SCRAM, scram.first().as_bytes()));
    client.receive_where(|it| matches!(it, Packet::Auth(_)))
}

/// Authenticates again, with success.
pub fn authenticate_again(client: &mut Client, username: &str) {
    let scram = ScramClient::new(username, PASSWORD);
    let challenge = begin_again(client, &scram);
    let last = scram.last(data_of(&challenge));
    client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, last.message.as_bytes()));
    let done = client.receive_where(|it| matches!(it, Packet::Auth(_)));
    let done = auth_of(&done);
    assert_eq!(done.reason_code, ReasonCode::Success);
    assert_eq!(done.properties.authentication_method, Some(SCRAM));
    assert_eq!(done.properties.authentication_data, Some(last.expected.as_bytes()));
}

#[track_caller]
pub fn auth_of(received: &Received) -> Auth<'_> {
    match received.packet() {
        Packet::Auth(auth) => auth,
        other => panic!("not AUTH: {other:?}"),
    }
}

#[track_caller]
pub fn connack_of(received: &Received) -> Box<ConnAck<'_>> {
    match received.packet() {
        Packet::ConnAck(connack) => connack,
        other => panic!("not CONNACK: {other:?}"),
    }
}

/// The data of an AUTH that asks for more.
#[track_caller]
pub fn data_of(received: &Received) -> Vec<u8> {
    let auth = auth_of(received);
    assert_eq!(auth.reason_code, ReasonCode::ContinueAuthentication);
    auth.properties.authentication_data.expect("a challenge has data").to_vec()
}

fn seed() -> String {
    let mut sql = "
        INSERT INTO tenants (name) VALUES ('acme');
        INSERT INTO principals (tenant, username, attributes) VALUES
            ('acme', 'pump', '{\"site\": \"north\"}'), ('acme', 'valve', '{}'), ('acme', 'locked', '{}');
        INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
            ('acme', 'everyone', 'publish', 'open/#'),
            ('acme', 'everyone', 'subscribe', 'open/#'),
            ('acme', 'everyone', 'publish', 'sites/{attribute:site}');
    "
    .to_owned();
    for username in ["pump", "valve", "locked"] {
        let secret = secret(&["scram", "--iterations", "4096"], PASSWORD);
        sql += &format!(
            "INSERT INTO credentials (tenant, username, kind, secret)
             VALUES ('acme', '{username}', 'scram-sha-256', '{secret}');"
        );
    }
    sql + "UPDATE credentials SET enabled = 0 WHERE username = 'locked';"
}

/// As an operator makes it, with `hookmq credential`.
pub fn secret(kind: &[&str], password: &str) -> String {
    let mut command = hookmq();
    command.arg("credential").args(kind);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("hookmq");
    let mut input = child.stdin.take().expect("it is piped");
    writeln!(input, "{password}").expect("hookmq reads");
    drop(input);
    let output = child.wait_with_output().expect("hookmq ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
