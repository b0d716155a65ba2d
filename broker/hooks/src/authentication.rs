//! Enhanced authentication (MQTT 5.0 section 4.12): what a connect step and the client say to each
//! other before the step answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{BoxFuture, Secret};

/// The client's end of an exchange.
pub trait Conversation: Send + Sync {
    /// Sends `data` in AUTH with "continue authentication" and waits for the client's answer.
    ///
    /// None where there will be no answer: the client has left, has broken the rules, or cannot take
    /// a packet of this size. The connection ends then, whatever the step makes of it.
    fn challenge<'a>(&'a self, data: Secret) -> BoxFuture<'a, Option<Secret>>;
}

/// A client's wish to be authenticated by a method, which it has named in CONNECT.
pub struct Authentication {
    method: Arc<str>,
    opening: Secret,
    conversation: Arc<dyn Conversation>,
    begun: AtomicBool,
}

/// The exchange in the hands of the one step that holds it.
pub struct Exchange<'a> {
    /// What the client sent along with the method's name; empty where it sent nothing.
    pub opening: &'a Secret,
    conversation: &'a dyn Conversation,
}

impl Authentication {
    pub fn new(method: Arc<str>, opening: Secret, conversation: Arc<dyn Conversation>) -> Self {
        Self { method, opening, conversation, begun: AtomicBool::new(false) }
    }

    /// As the client wrote it.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Takes the exchange, for a step that knows the method. From here on the step's word is final,
    /// whatever its control word: what the client has answered cannot be asked again.
    ///
    /// None where another step has taken it.
    pub fn begin(&self) -> Option<Exchange<'_>> {
        let taken = self.begun.swap(true, Ordering::Relaxed);
        let exchange = Exchange { opening: &self.opening, conversation: &*self.conversation };
        (!taken).then_some(exchange)
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

impl Exchange<'_> {
    /// As [`Conversation::challenge`]. The client may take its time, up to the connection's deadline:
    /// hold nothing meanwhile that others wait for.
    pub async fn challenge(&self, data: impl Into<Vec<u8>>) -> Option<Secret> {
        self.conversation.challenge(Secret::new(data.into())).await
    }
}

impl fmt::Debug for Authentication {
    /// Without the data, which logs must not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").field("method", &self.method).finish_non_exhaustive()
    }
}
