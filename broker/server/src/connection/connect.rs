//! From accept to CONNACK: who the client is, which session it gets, what it is told.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{Connect, DecodeError, ProtocolVersion, ReasonCode, decode_connect, frame};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, CertificateFacts, Client, ConnectAttempt, ConnectionFacts, Decision, Identity,
    Secret,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Stream;
use super::driver::{Driver, Start};
use crate::broker::Broker;
use crate::broker::publisher::Will;

/// Why a connection did not become a client's.
#[derive(Debug)]
pub enum Refused {
    /// Nothing that was said deserves an answer.
    Silently(String),
    /// CONNACK was sent with this code.
    Told(Box<Refusal>),
}

/// A client that was answered with a refusing CONNACK.
#[derive(Debug)]
pub struct Refusal {
    pub reason_code: ReasonCode,
    pub reason: String,
    pub step: Option<Arc<str>>,
    pub client_id: String,
    pub username: Option<String>,
}

/// Time for a refusing CONNACK to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reads CONNECT, asks the connect hooks and opens the session, all in the time that the limits give.
/// The driver's first act is to send CONNACK.
pub async fn connect<S: Stream>(
    broker: Arc<Broker>,
    mut stream: S,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
) -> Result<Driver<S>, Refused> {
    let deadline = tokio::time::Instant::now() + broker.limits.connect_timeout;
    let mut received = Vec::new();
    let length =
        tokio::time::timeout_at(deadline, read_connect(&broker, &mut stream, &mut received))
            .await
            .unwrap_or_else(|_| Err(Refused::Silently("no CONNECT in time".into())))?;
    let behind = received.split_off(length);
    let maximum = broker.limits.maximum_packet_size;
    let connect = match frame(&received, maximum).and_then(|packet| match packet {
        Some(packet) => decode_connect(packet),
        None => Err(DecodeError::Truncated),
    }) {
        Ok(connect) => connect,
        Err(error) => return Err(refuse_undecodable(&mut stream, error).await),
    };
    let facts = ConnectionFacts { protocol: connect.version, ..facts };
    let identified =
        tokio::time::timeout_at(deadline, identify(&broker, &connect, facts, certificate));
    let client = match identified.await {
        Ok(identified) => identified,
        Err(_) => Err(refusal(ReasonCode::ServerUnavailable, "the connect hooks took too long")),
    };
    let opened = match client {
        Ok(client) => open(&broker, &connect, client).await,
        Err(refusal) => Err(refusal),
    };
    match opened {
        Ok(start) => Ok(Driver::new(broker, stream, start, behind)),
        Err(mut refusal) => {
            refusal.client_id = connect.client_id.to_owned();
            refusal.username = connect.username.map(str::to_owned);
            let connack = answer::refusal(connect.version, &refusal);
            farewell(&mut stream, &connack).await;
            Err(Refused::Told(refusal))
        }
    }
}

/// Reads until the first packet is whole; gives its length. It must be CONNECT `[MQTT-3.1.0-1]`.
async fn read_connect(
    broker: &Broker,
    stream: &mut impl Stream,
    received: &mut Vec<u8>,
) -> Result<usize, Refused> {
    loop {
        let packet = frame(received, broker.limits.maximum_packet_size)
            .map_err(|error| Refused::Silently(error.to_string()))?;
        if received.first().is_some_and(|first| first >> 4 != 1) {
            return Err(Refused::Silently("the first packet is not CONNECT".into()));
        }
        if let Some(packet) = packet {
            return Ok(packet.length);
        }
        received.reserve(1024);
        match stream.read_buf(received).await {
            Ok(0) => return Err(Refused::Silently("closed before CONNECT".into())),
            Ok(_) => {}
            Err(error) => return Err(Refused::Silently(error.to_string())),
        }
    }
}

async fn refuse_undecodable(stream: &mut impl Stream, error: DecodeError) -> Refused {
    let reason_code = error.reason_code();
    if reason_code != ReasonCode::UnsupportedProtocolVersion {
        return Refused::Silently(error.to_string());
    }
    // A client of an unknown version is answered in the form of 3.1.1, which is the oldest.
    let refusal = refusal(reason_code, error.to_string());
    farewell(stream, &answer::refusal(ProtocolVersion::V311, &refusal)).await;
    Refused::Told(refusal)
}

async fn farewell(stream: &mut impl Stream, connack: &[u8]) {
    // The peer may be gone or may not read; either way the connection ends now.
    let _ = tokio::time::timeout(FAREWELL, async {
        stream.write_all(connack).await?;
        stream.shutdown().await
    })
    .await;
}

/// Asks the connect hooks and makes a client of what they establish.
async fn identify(
    broker: &Broker,
    connect: &Connect<'_>,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
) -> Result<Arc<Client>, Box<Refusal>> {
    if connect.client_id.len() > broker.limits.client_id_length {
        return Err(refusal(ReasonCode::ClientIdentifierNotValid, "the client id is too long"));
    }
    if connect.properties.authentication_method.is_some() {
        return Err(refusal(ReasonCode::BadAuthenticationMethod, "no such authentication method"));
    }
    let mut attempt = ConnectAttempt {
        connection: facts,
        certificate,
        client_id: connect.client_id.to_owned(),
        username: connect.username.map(str::to_owned),
        password: connect.password.map(|password| Secret::new(password.to_vec())),
        identity: Identity::default(),
    };
    let pipeline = broker.pipeline.load();
    pipeline.connect(&mut attempt, broker).await.map_err(|refused| {
        Box::new(Refusal { step: refused.step, ..*refusal(refused.reason_code, refused.reason) })
    })?;
    let client_id = client_id(connect, &attempt.identity)?;
    let ConnectAttempt { connection, certificate, identity, .. } = attempt;
    let (Some(tenant), Some(username)) = (identity.tenant, identity.username) else {
        let reason = "no connect step has named a tenant and a username";
        return Err(refusal(ReasonCode::NotAuthorized, reason));
    };
    Ok(Arc::new(Client {
        tenant,
        username,
        client_id,
        client_id_bound: identity.client_id.is_some(),
        roles: identity.roles,
        attributes: identity.attributes,
        attachments: identity.attachments,
        connection,
        certificate,
    }))
}

/// The client's own id, the one that a step bound, or one that we make up.
fn client_id(connect: &Connect<'_>, identity: &Identity) -> Result<Arc<str>, Box<Refusal>> {
    match (&identity.client_id, connect.client_id) {
        (Some(bound), "") => Ok(bound.clone()),
        (Some(bound), claimed) if **bound == *claimed => Ok(bound.clone()),
        (Some(bound), _) => Err(refusal(
            ReasonCode::ClientIdentifierNotValid,
            format!("the client id does not belong to this client, whose id is {bound:?}"),
        )),
        (None, "") if connect.version == ProtocolVersion::V31 => {
            Err(refusal(ReasonCode::ClientIdentifierNotValid, "MQTT 3.1 demands a client id"))
        }
        // [MQTT-3.1.3-8]: a server that assigned an id could not tell it to a 3.1.1 client.
        (None, "") if !connect.version.is_v5() && !connect.clean_start => Err(refusal(
            ReasonCode::ClientIdentifierNotValid,
            "a session that is to be kept needs a client id",
        )),
        (None, "") => Ok(format!("auto-{}", hex::encode(rand::random::<[u8; 16]>())).into()),
        (None, claimed) => Ok(claimed.into()),
    }
}

/// Checks the will, opens the session, and settles the terms of the connection.
async fn open(
    broker: &Arc<Broker>,
    connect: &Connect<'_>,
    client: Arc<Client>,
) -> Result<Start, Box<Refusal>> {
    if let Some(will) = &connect.will {
        let access = Access {
            action: Action::Publish,
            topic: will.topic.as_str(),
            qos: will.qos,
            retain: will.retain,
        };
        let (decision, _) = broker.pipeline.load().authorize(&client, &access, &**broker);
        if !matches!(decision, Decision::Allowed { maximum_qos } if will.qos <= maximum_qos) {
            return Err(refusal(ReasonCode::NotAuthorized, "the will's topic is not permitted"));
        }
    }
    let tenant = broker.tenant(&client.tenant);
    let opened = broker
        .open_session(&tenant, &client, connect.clean_start)
        .await
        .map_err(|reason_code| refusal(reason_code, "the session is not to be had"))?;
    let will = connect.will.as_ref().map(|will| {
        let mut properties = Vec::new();
        will.properties.encode_forwarded(&mut properties);
        Box::new(Will {
            message: Message::new(NewMessage {
                topic: will.topic,
                forwarded_properties: &properties,
                payload: will.payload,
                qos: will.qos,
                retain: will.retain,
                expires_at: None,
                publisher: opened.handle.id,
            }),
            delay: Duration::from_secs(will.delay_interval.into()),
            expiry_interval: will.properties.message_expiry_interval,
            client: client.clone(),
        })
    });
    Ok(answer::settle(broker, connect, tenant, client, opened, will).await)
}

fn refusal(reason_code: ReasonCode, reason: impl Into<String>) -> Box<Refusal> {
    Box::new(Refusal {
        reason_code,
        reason: reason.into(),
        step: None,
        client_id: String::new(),
        username: None,
    })
}
