//! The exchange of AUTH packets between a connect step and the client (MQTT 5.0 section 4.12), as the
//! connection sees it: it sends each challenge of the step, and hands it the client's answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hookmq_codec::{Auth, AuthProperties, Packet, ReasonCode};
use hookmq_hooks::{Authentication, BoxFuture, Conversation, Secret};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Where the step leaves its challenge for the connection, which polls the step itself.
#[derive(Default)]
pub(super) struct Exchange {
    asked: Mutex<Option<Challenge>>,
}

/// Data for the client, and where its answer goes. Dropping the latter ends the exchange.
pub(super) struct Challenge {
    pub(super) data: Secret,
    pub(super) reply: oneshot::Sender<Secret>,
}

/// What the steps have come to.
pub(super) enum Turn<T> {
    Ask(Challenge),
    Done(T),
}

impl Exchange {
    /// What the steps are shown of it.
    pub(super) fn authentication(
        self: &Arc<Self>,
        method: Arc<str>,
        opening: Option<&[u8]>,
    ) -> Authentication {
        Authentication::new(method, secret(opening), self.clone())
    }

    /// Polls the steps until they have a challenge or are done.
    pub(super) fn poll<T>(
        &self,
        steps: Pin<&mut (impl Future<Output = T> + ?Sized)>,
        context: &mut Context<'_>,
    ) -> Poll<Turn<T>> {
        if let Poll::Ready(done) = steps.poll(context) {
            return Poll::Ready(Turn::Done(done));
        }
        self.asked
            .lock()
            .take()
            .map_or(Poll::Pending, |challenge| Poll::Ready(Turn::Ask(challenge)))
    }
}

impl Conversation for Exchange {
    fn challenge<'a>(&'a self, data: Secret) -> BoxFuture<'a, Option<Secret>> {
        let (reply, answer) = oneshot::channel();
        *self.asked.lock() = Some(Challenge { data, reply });
        Box::pin(async { answer.await.ok() })
    }
}

/// Authentication data as it was sent; empty where there was none.
pub(super) fn secret(data: Option<&[u8]>) -> Secret {
    Secret::new(data.unwrap_or_default().to_vec())
}

/// Authentication data as it is to be sent.
pub(super) fn sent(data: &Secret) -> Option<&[u8]> {
    Some(data.expose()).filter(|data| !data.is_empty())
}

/// AUTH with the method of CONNECT `[MQTT-4.12.0-5]`.
pub(super) fn auth<'a>(reason_code: ReasonCode, method: &'a str, data: &'a Secret) -> Packet<'a> {
    let properties = AuthProperties {
        authentication_method: Some(method),
        authentication_data: sent(data),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason_code, properties })
}
