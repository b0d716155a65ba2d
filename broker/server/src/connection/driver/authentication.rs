//! Re-authentication (MQTT 5.0 section 4.12.1): the connect steps are asked again while messages flow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hookmq_codec::{Auth, Connect, PacketType, ReasonCode};
use hookmq_hooks::{BoxFuture, Client, ConnectAttempt, Identity, Secret};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Sleep;
use tracing::{debug, info};

use super::Driver;
use super::timer::from_now;
use crate::broker::Broker;
use crate::connection::Stream;
use crate::connection::connect::{Identified, Refusal, identify};
use crate::connection::ending::Ending;
use crate::connection::exchange::{Challenge, Exchange, Turn, auth, secret};

/// What a connection remembers whose CONNECT has named an authentication method.
pub struct Authentication {
    method: Arc<str>,
    /// The user name of CONNECT, a claim. Its password is not kept.
    username: Option<String>,
    renewal: Option<Renewal>,
}

/// A client that is about to authenticate again. There is at most one for a connection, and
/// `connect_timeout` bounds it.
struct Renewal {
    exchange: Arc<Exchange>,
    steps: BoxFuture<'static, Identified>,
    /// Held while a step is thinking, and not while the client is.
    turn: Option<OwnedSemaphorePermit>,
    /// Where the client's next AUTH goes; none while a step is thinking.
    reply: Option<oneshot::Sender<Secret>>,
    deadline: Pin<Box<Sleep>>,
}

impl Authentication {
    /// None where CONNECT has named no method.
    pub fn of(connect: &Connect<'_>) -> Option<Box<Self>> {
        let method = connect.properties.authentication_method?.into();
        let username = connect.username.map(str::to_owned);
        Some(Box::new(Self { method, username, renewal: None }))
    }
}

impl Renewal {
    /// Asks the connect steps about what the client says now and what its connection shows.
    fn begin(
        broker: &Arc<Broker>,
        client: &Client,
        username: Option<String>,
        method: Arc<str>,
        opening: Option<&[u8]>,
    ) -> Result<Self, Ending> {
        let turn = Some(begin_turn(broker)?);
        let exchange = Arc::new(Exchange::default());
        let attempt = ConnectAttempt {
            connection: client.connection.clone(),
            certificate: client.certificate.clone(),
            client_id: client.client_id.to_string(),
            username,
            password: None,
            authentication: Some(exchange.authentication(method, opening)),
            waited: Default::default(),
            identity: Identity::default(),
        };
        let deadline = Box::pin(tokio::time::sleep(broker.limits.connect_timeout));
        let (broker, client_id) = (broker.clone(), client.client_id.clone());
        let bound_or_same = |it: &Identity| Ok(it.client_id.clone().unwrap_or(client_id));
        let steps = Box::pin(async move { identify(&broker, attempt, bound_or_same).await });
        Ok(Self { exchange, steps, turn, reply: None, deadline })
    }
}

fn begin_turn(broker: &Broker) -> Result<OwnedSemaphorePermit, Ending> {
    let busy = |_| Ending::Told(ReasonCode::ServerBusy);
    broker.admission.begin_authentication().map_err(busy)
}

impl<S: Stream> Driver<S> {
    /// AUTH must go on with the method of CONNECT `[MQTT-4.12.0-5]` `[MQTT-4.12.1-1]`, and never comes
    /// where CONNECT has named none `[MQTT-4.12.0-7]`.
    pub(super) fn handle_auth(&mut self, auth: &Auth<'_>) -> Result<(), Ending> {
        let violation = Err(Ending::Told(ReasonCode::ProtocolError));
        let Some(authentication) = &mut self.authentication else { return violation };
        if auth.properties.authentication_method != Some(&*authentication.method) {
            return violation;
        }
        let data = auth.properties.authentication_data;
        match (auth.reason_code, &mut authentication.renewal) {
            (ReasonCode::ReAuthenticate, None) => {
                authentication.renewal = Some(Renewal::begin(
                    &self.broker,
                    &self.client,
                    authentication.username.clone(),
                    authentication.method.clone(),
                    data,
                )?);
                Ok(())
            }
            (ReasonCode::ContinueAuthentication, Some(renewal)) => match renewal.reply.take() {
                Some(reply) => {
                    renewal.turn = Some(begin_turn(&self.broker)?);
                    // A step that does not want it any more goes on without.
                    let _ = reply.send(secret(data));
                    Ok(())
                }
                None => violation,
            },
            _ => violation,
        }
    }

    /// Goes on with a renewal, whether or not the client reads: what the steps hold meanwhile, others
    /// may be waiting for.
    pub(super) fn poll_renewal(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while let Some(authentication) = &mut self.authentication
            && let Some(renewal) = &mut authentication.renewal
        {
            match renewal.exchange.poll(renewal.steps.as_mut(), context) {
                Poll::Ready(Turn::Ask(Challenge { data, reply })) => {
                    renewal.reply = Some(reply);
                    renewal.turn = None;
                    self.send_auth(ReasonCode::ContinueAuthentication, &data)?;
                }
                Poll::Ready(Turn::Done(identified)) => {
                    authentication.renewal = None;
                    let (client, last_word) = identified.map_err(|it| self.not_renewed(&it))?;
                    self.renew(client)?;
                    self.send_auth(ReasonCode::Success, &last_word)?;
                }
                Poll::Pending if renewal.deadline.as_mut().poll(context).is_ready() => {
                    info!(client_id = ?self.client.client_id, "re-authentication not done in time");
                    return Err(Ending::Told(ReasonCode::NotAuthorized));
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Puts what the steps have established now in the place of what they had established before.
    fn renew(&mut self, client: Arc<Client>) -> Result<(), Ending> {
        let old = &self.client;
        if (&client.tenant, &client.username, &client.client_id)
            != (&old.tenant, &old.username, &old.client_id)
        {
            info!(
                tenant = &*old.tenant,
                client_id = ?old.client_id,
                username = ?client.username,
                "re-authentication as somebody else"
            );
            return Err(Ending::Told(ReasonCode::NotAuthorized));
        }
        debug!(tenant = &*client.tenant, client_id = ?client.client_id, "client re-authenticated");
        self.expires_at = client.limits.expires_at.map(from_now).map(Box::new);
        self.go_on_as(client);
        self.judge_again()
    }

    fn not_renewed(&self, refusal: &Refusal) -> Ending {
        info!(
            tenant = &*self.client.tenant,
            client_id = ?self.client.client_id,
            reason_code = %refusal.reason_code,
            step = refusal.step.as_deref(),
            reason = ?refusal.reason,
            "re-authentication refused"
        );
        // CONNACK has codes that DISCONNECT has not.
        let can_be_told = refusal.reason_code.is_failure()
            && refusal.reason_code.is_allowed_in(PacketType::Disconnect);
        Ending::Told(if can_be_told { refusal.reason_code } else { ReasonCode::NotAuthorized })
    }

    fn send_auth(&mut self, reason_code: ReasonCode, data: &Secret) -> Result<(), Ending> {
        let method = match &self.authentication {
            Some(authentication) => authentication.method.clone(),
            // [MQTT-4.12.0-6]
            None => return Ok(()),
        };
        let before = self.out.len();
        self.send(&auth(reason_code, &method, data))?;
        if self.out.len() - before > self.terms.maximum_packet_size as usize {
            self.out.truncate(before);
            return Err(Ending::Told(ReasonCode::PacketTooLarge));
        }
        Ok(())
    }
}
