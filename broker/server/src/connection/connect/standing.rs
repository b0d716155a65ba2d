//! Whether a client is to be asked who it is, and once that is known, whether it is kept out.

use hookmq_access::Ban;
use hookmq_codec::{Connect, ReasonCode};
use hookmq_hooks::{Client, ConnectionFacts};

use super::{Identified, Refusal, Refused, refusal};
use crate::admission::{Claim, ClaimedName};
use crate::broker::Broker;
use crate::clock;

/// Goes through the connect steps, `asked`, with a client that is not kept out before them, and looks
/// afterwards whether it is.
pub(super) async fn examine(
    broker: &Broker,
    facts: &ConnectionFacts,
    connect: &Connect<'_>,
    asked: impl Future<Output = Result<Identified, Refused>>,
) -> Result<Identified, Refused> {
    let claim = before_steps(broker, facts, connect)?;
    let identified = asked.await?;
    if let Some(claim) = claim {
        note_answer(broker, claim, &identified);
    }
    if let Ok((client, _)) = &identified {
        after_steps(broker, client).await?;
    }
    Ok(identified)
}

/// Before any step is asked: an address that is banned, or that failed too often, is refused. A client
/// without an address comes by a unix socket, whose permissions say who may.
fn before_steps(
    broker: &Broker,
    facts: &ConnectionFacts,
    connect: &Connect<'_>,
) -> Result<Option<Claim>, Box<Refusal>> {
    let Some(peer) = facts.peer else { return Ok(None) };
    if let Some(ban) = broker.ban_of_address(peer.ip()) {
        return Err(banned(broker, &ban));
    }
    let backoff = &broker.admission.backoff;
    let of_client_id = ClaimedName::ClientId(connect.client_id);
    let name = connect.username.map_or(of_client_id, ClaimedName::Username);
    let claim = backoff.claim(peer.ip(), &facts.listener, name);
    match backoff.may_try(claim, clock::now()) {
        true => Ok(Some(claim)),
        false => Err(held_back(broker, "too many failed authentications; try again later")),
    }
}

/// Keeps in mind how the steps have answered.
fn note_answer(broker: &Broker, claim: Claim, identified: &Identified) {
    let failed = |refusal: &Refusal| {
        matches!(refusal.reason_code, ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized)
    };
    match identified {
        Ok(_) => broker.admission.backoff.succeeded(claim),
        Err(refusal) if failed(refusal) => broker.admission.backoff.failed(claim, clock::now()),
        Err(_) => {}
    }
}

/// After the steps, whose client may be banned by its names, or connect too often.
async fn after_steps(broker: &Broker, client: &Client) -> Result<(), Box<Refusal>> {
    match broker.ban_of_newcomer(client).await {
        Ok(None) => {}
        Ok(Some(ban)) => return Err(banned(broker, &ban)),
        // Nobody can say that it is not banned.
        Err(error) => return Err(refusal(ReasonCode::ServerUnavailable, error.to_string())),
    }
    match broker.admission.flapping.may_enter(client, clock::now()) {
        true => Ok(()),
        false => Err(held_back(broker, "the client connects too often; try again later")),
    }
}

fn banned(broker: &Broker, ban: &Ban) -> Box<Refusal> {
    broker.metrics.connects_banned.add(1);
    let note = Some(format!("ban {}: {}", ban.id, ban.reason));
    Box::new(Refusal { note, ..*refusal(ReasonCode::Banned, "the client is banned") })
}

/// "Banned" would be an administrator's decision: the client need only wait.
fn held_back(broker: &Broker, reason: &'static str) -> Box<Refusal> {
    broker.metrics.connects_held_back.add(1);
    refusal(ReasonCode::ConnectionRateExceeded, reason)
}
