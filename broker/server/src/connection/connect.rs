//! From accept to CONNACK: who the client is, which session it gets, what it is told.

mod answer;
mod authentication;
mod standing;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{
    Connect, DecodeError, ProtocolVersion, ReasonCode, decode_connect_within, frame,
};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, Authentication, CertificateFacts, Client, ConnectAttempt, ConnectionFacts,
    Decision, Identity, Secret, resembles_token,
};
use tokio::io::AsyncReadExt;

use self::answer::RefusalTerms;
use self::authentication::Candidate;
use super::Stream;
use super::driver::{Driver, Start};
use super::ending::farewell;
use super::exchange::Exchange;
use crate::admission::{Arrival, Bound, Late};
use crate::broker::Broker;
use crate::broker::publisher::{Judged, Will};
use crate::broker::sys::is_sys;

/// Why a connection did not become a client's.
#[derive(Debug)]
pub enum Refused {
    /// Nothing that was said deserves an answer.
    Silently(String),
    /// It took longest when too many were pending, and nothing was said.
    Shed(Bound),
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
    /// For the log, in place of `reason`: what the client is not told.
    pub note: Option<String>,
    /// Where a bound of the broker refuses, and not what the client is.
    pub bound: Option<Bound>,
}

impl Refusal {
    /// Takes a user name that is a token out of what is logged.
    fn conceal_token(&mut self) {
        const TOKEN: &str = "(a token)";
        if let Some(username) = self.username.take_if(|username| resembles_token(username)) {
            self.reason = self.reason.replace(&username, TOKEN);
            self.username = Some(TOKEN.into());
        }
    }
}

/// A client as the connect hooks establish it, with the last word of its authentication method.
pub(super) type Identified = Result<(Arc<Client>, Secret), Box<Refusal>>;

impl From<Box<Refusal>> for Refused {
    fn from(refusal: Box<Refusal>) -> Self {
        Self::Told(refusal)
    }
}

/// Reads CONNECT and asks the connect hooks in the time that is left, then opens the session. The
/// driver's first act is to send CONNACK.
pub async fn connect<S: Stream>(
    broker: Arc<Broker>,
    mut stream: S,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
    mut arrival: Arrival,
) -> Result<Box<Driver<S>>, Refused> {
    let mut received = Vec::new();
    let length = arrival
        .within(read_connect(&broker, &mut stream, &mut received))
        .await
        .unwrap_or_else(|late| Err(late.into()))?;
    let behind = received.split_off(length);
    // Boxed: whoever says nothing holds none of what this takes.
    Box::pin(welcome(broker, stream, facts, certificate, arrival, received, behind)).await
}

/// Handles the CONNECT that `received` is; `behind` is what came with it.
async fn welcome<S: Stream>(
    broker: Arc<Broker>,
    mut stream: S,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
    mut arrival: Arrival,
    received: Vec<u8>,
    mut behind: Vec<u8>,
) -> Result<Box<Driver<S>>, Refused> {
    let maximum = broker.limits.connect_packet_size;
    let connect = match frame(&received, maximum).and_then(|packet| match packet {
        Some(packet) => decode_connect_within(packet, broker.limits.decode),
        None => Err(DecodeError::Truncated),
    }) {
        Ok(connect) => connect,
        Err(error) => return Err(refuse_undecodable(&mut stream, error).await),
    };
    let facts = ConnectionFacts { protocol: connect.version, ..facts };
    let exchange = Arc::new(Exchange::default());
    let method = connect.properties.authentication_method.map(|method| {
        exchange.authentication(method.into(), connect.properties.authentication_data)
    });
    // Boxed, since each future around it has room for it twice.
    let steps = Box::pin(identify_newcomer(&broker, &connect, facts.clone(), certificate, method));
    let candidate = Candidate {
        admission: &broker.admission,
        stream: &mut stream,
        behind: &mut behind,
        connect: &connect,
        maximum_packet_size: maximum,
        deadline: arrival.deadline(),
    };
    let identified = candidate.authenticate(&exchange, steps);
    let identified = standing::examine(&broker, &facts, &connect, identified);
    let identified = match arrival.within(identified).await {
        Ok(Ok(identified)) => identified,
        Ok(Err(Refused::Told(refusal))) => Err(refusal),
        Ok(Err(silently)) => return Err(silently),
        Err(Late::TimedOut) => {
            Err(refusal(ReasonCode::ServerUnavailable, "the connect hooks took too long"))
        }
        Err(Late::GivenAway) => Err(busy(Bound::PendingConnections)),
    };
    let opened = match identified {
        Ok((client, last_word)) => open(&broker, &connect, client, &last_word).await,
        Err(refusal) => Err(refusal),
    };
    match opened {
        Ok(start) => Ok(Box::new(Driver::new(broker, stream, start, behind))),
        Err(mut refusal) => {
            refusal.client_id = connect.client_id.to_owned();
            refusal.username = connect.username.map(str::to_owned);
            refusal.conceal_token();
            let maximum_packet_size = connect.properties.maximum_packet_size;
            let terms = RefusalTerms {
                version: connect.version,
                maximum_packet_size: maximum_packet_size.map_or(u32::MAX, NonZeroU32::get),
                server_reference: broker.protocol.server_reference.as_deref(),
            };
            let connack = answer::refusal(&terms, &refusal);
            farewell(stream, &connack).await;
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
        let packet = frame(received, broker.limits.connect_packet_size)
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
    let version = match error {
        // A client of an unknown version is answered in the form of 3.1.1, which is the oldest.
        DecodeError::ProtocolName | DecodeError::ProtocolLevel(_) => ProtocolVersion::V311,
        // Only 5.0 has them.
        DecodeError::TooManyUserProperties { .. } => ProtocolVersion::V5,
        _ => return Refused::Silently(error.to_string()),
    };
    let refusal = refusal(error.reason_code(), error.to_string());
    let terms = RefusalTerms { version, maximum_packet_size: u32::MAX, server_reference: None };
    farewell(stream, &answer::refusal(&terms, &refusal)).await;
    Refused::Told(refusal)
}

/// Asks the connect hooks who sends this CONNECT.
async fn identify_newcomer(
    broker: &Broker,
    connect: &Connect<'_>,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
    authentication: Option<Authentication>,
) -> Identified {
    if connect.client_id.len() > broker.limits.client_id_length {
        return Err(refusal(ReasonCode::ClientIdentifierNotValid, "the client id is too long"));
    }
    let attempt = ConnectAttempt {
        connection: facts,
        certificate,
        client_id: connect.client_id.to_owned(),
        username: connect.username.map(str::to_owned),
        password: connect.password.map(|password| Secret::new(password.to_vec())),
        authentication,
        waited: Default::default(),
        identity: Identity::default(),
    };
    identify(broker, attempt, |identity| client_id(connect, identity)).await
}

/// Asks the connect hooks and makes a client of what they establish. Who polls it has a turn of
/// `pending_authentications`.
pub(super) async fn identify(
    broker: &Broker,
    mut attempt: ConnectAttempt,
    client_id: impl FnOnce(&Identity) -> Result<Arc<str>, Box<Refusal>>,
) -> Identified {
    let pipeline = broker.pipeline.load();
    let last_word = pipeline.connect(&mut attempt, broker).await.map_err(|refused| {
        Box::new(Refusal { step: refused.step, ..*refusal(refused.reason_code, refused.reason) })
    })?;
    let client_id = client_id(&attempt.identity)?;
    let ConnectAttempt { connection, certificate, identity, .. } = attempt;
    let (Some(tenant), Some(username)) = (identity.tenant, identity.username) else {
        let reason = "no connect step has named a tenant and a username";
        return Err(refusal(ReasonCode::NotAuthorized, reason));
    };
    let used = broker.tenant(&tenant);
    let (budget, steps) = (used.budget.clone(), used.steps.clone());
    let client = Arc::new(Client {
        tenant,
        username,
        client_id,
        client_id_bound: identity.client_id.is_some(),
        roles: identity.roles,
        attributes: identity.attributes,
        attachments: identity.attachments,
        limits: identity.limits,
        budget,
        steps,
        connection,
        certificate,
    });
    Ok((client, last_word))
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
    last_word: &Secret,
) -> Result<Start, Box<Refusal>> {
    if let Some(will) = &connect.will {
        let access = Access {
            action: Action::Publish,
            topic: will.topic.as_str(),
            qos: will.qos,
            retain: will.retain,
            share_name: None,
        };
        let (decision, _) = broker.pipeline.load().authorize(&client, &access, &**broker);
        check_will(broker, will)?;
        let allowed =
            matches!(decision, Decision::Allowed { maximum_qos } if will.qos <= maximum_qos);
        if !allowed || broker.passage(&client, &access).denial().is_some() {
            return Err(refusal(ReasonCode::NotAuthorized, "the will's topic is not permitted"));
        }
    }
    let tenant = broker.tenant(&client.tenant);
    let place = broker
        .admit_to_tenant(&tenant, &client)
        .map_err(|(reason_code, reason)| refusal(reason_code, reason))?;
    let (opened, forgotten) = broker
        .open_session(&tenant, &client, connect.clean_start, place)
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
            judged: Judged::Again,
        })
    });
    let start = answer::settle(broker, connect, tenant, client, opened, will, last_word).await;
    // Behind what was forgotten comes what has begun, if that is stored.
    broker.durable(forgotten).await;
    Ok(start)
}

/// A will asks for no more than the client could publish itself `[MQTT-3.2.2-12]` `[MQTT-3.2.2-13]`.
fn check_will(broker: &Broker, will: &hookmq_codec::Will<'_>) -> Result<(), Box<Refusal>> {
    let (limits, protocol) = (&broker.limits, &broker.protocol);
    if will.qos > protocol.maximum_qos {
        return Err(refusal(ReasonCode::QosNotSupported, "the will is above the maximum QoS"));
    }
    if will.retain && !protocol.retain_available {
        return Err(refusal(ReasonCode::RetainNotSupported, "wills are not retained here"));
    }
    if is_sys(will.topic.as_str()) {
        return Err(refusal(ReasonCode::NotAuthorized, "the will's topic is the broker's own"));
    }
    if !limits.allows_topic(will.topic) {
        return Err(refusal(ReasonCode::TopicNameInvalid, "no message may have the will's topic"));
    }
    let declared = will.properties.payload_format_indicator == Some(true);
    if protocol.check_payload_format && declared && std::str::from_utf8(will.payload).is_err() {
        return Err(refusal(ReasonCode::PayloadFormatInvalid, "the will's payload is not UTF-8"));
    }
    Ok(())
}

fn refusal(reason_code: ReasonCode, reason: impl Into<String>) -> Box<Refusal> {
    Box::new(Refusal {
        reason_code,
        reason: reason.into(),
        step: None,
        client_id: String::new(),
        username: None,
        note: None,
        bound: None,
    })
}

/// Better luck later; of no interest to operators beyond its count.
pub(super) fn busy(bound: Bound) -> Box<Refusal> {
    Box::new(Refusal { bound: Some(bound), ..*refusal(ReasonCode::ServerBusy, bound.key()) })
}

impl From<Late> for Refused {
    fn from(late: Late) -> Self {
        match late {
            Late::TimedOut => Self::Silently("no CONNECT in time".into()),
            Late::GivenAway => Self::Shed(Bound::PendingConnections),
        }
    }
}
