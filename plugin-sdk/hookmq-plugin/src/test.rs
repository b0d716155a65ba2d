//! Runs hooks natively, without a broker. Not there on wasm32.
//!
//! A [`Host`] stands for the broker: it records what the plugin does and says what it is answered. A
//! [`Harness`] stands for the pipeline: it configures the plugin from JSON and calls its hooks as the
//! broker does, with the fields and the grants that the manifest asks for. The functions of this
//! module make what hooks are asked about; a struct update names the rest:
//!
//! ```
//! use hookmq_plugin::{Client, Message, Qos, test};
//!
//! let client = Client { roles: vec!["viewer".into()], ..test::client("meter-7") };
//! let message = Message { qos: Qos::AtLeastOnce, ..test::message("plant/1", "21.5") };
//! assert_eq!((&*client.tenant, &*message.topic), ("test", "plant/1"));
//! ```
//!
//! Each thread has a host of its own, and the test runner gives each test a thread of its own.

use serde_json::Value;

use crate::http::Response;
use crate::{
    Access, Action, Certificate, Client, ConnectAttempt, Connection, Message, MessageProperties,
    Protocol, Qos,
};

mod harness;
mod host;
pub(crate) mod imports;
mod manifest;

pub use harness::Harness;
pub use host::{Bounds, Host};

/// A client of the tenant `test`, whose client id is its username.
pub fn client(username: &str) -> Client {
    Client {
        tenant: "test".into(),
        username: username.into(),
        client_id: username.into(),
        client_id_bound: true,
        connection: vec![connection()],
        ..Client::default()
    }
}

/// A version 5 connection over TLS to the listener `main`.
pub fn connection() -> Connection {
    Connection {
        listener: "main".into(),
        peer: Some("192.0.2.1:49152".into()),
        protocol: Protocol::V5,
        encrypted: true,
        certificate: None,
    }
}

/// A CONNECT with this client id and nothing else.
pub fn attempt(client_id: &str) -> ConnectAttempt {
    ConnectAttempt { client_id: client_id.into(), connection: connection(), ..Default::default() }
}

/// A CONNECT with username and password.
pub fn login(username: &str, password: impl Into<Vec<u8>>) -> ConnectAttempt {
    let password = Some(password.into());
    ConnectAttempt { username: Some(username.into()), password, ..attempt(username) }
}

/// A CONNECT with a verified certificate.
pub fn certified(certificate: Certificate) -> ConnectAttempt {
    let connection = Connection { certificate: Some(certificate), ..connection() };
    ConnectAttempt { connection, ..attempt("client") }
}

/// A message of QoS 0 with empty properties, not retained.
pub fn message(topic: &str, payload: impl Into<Vec<u8>>) -> Message {
    Message {
        topic: topic.into(),
        payload: Some(payload.into()),
        properties: Some(MessageProperties::default()),
        ..Message::default()
    }
}

/// As [`message`], with JSON as payload.
pub fn json_message(topic: &str, payload: &Value) -> Message {
    message(topic, payload.to_string())
}

/// To publish to a topic with QoS 0, not retained.
pub fn publish(topic: &str) -> Access {
    access(Action::Publish, topic)
}

/// To subscribe to a filter with QoS 0.
pub fn subscribe(filter: &str) -> Access {
    access(Action::Subscribe, filter)
}

/// To receive a message of a topic with QoS 0.
pub fn receive(topic: &str) -> Access {
    access(Action::Receive, topic)
}

fn access(action: Action, topic: &str) -> Access {
    Access { action, topic: topic.into(), qos: Qos::AtMostOnce, retain: false }
}

/// An HTTP response without headers.
pub fn response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response { status, headers: Vec::new(), body: body.into() }
}
