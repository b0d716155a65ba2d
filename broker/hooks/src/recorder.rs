//! The latest questions that a step was asked, to be looked at and asked again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hookmq_codec::Qos;
use hookmq_core::Message;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{Access, Action, Client, ConnectAttempt, Places};

/// What is kept of each step's questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderOptions {
    /// Questions of one step; new ones take the place of the oldest. 0: none.
    pub questions: usize,
    /// One question out of so many that a worker asks is kept, and each that the step failed on.
    pub every: u64,
    /// Bytes of all messages that one step's questions are about; a larger one is not kept.
    pub bytes: usize,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self { questions: 64, every: 256, bytes: 1 << 20 }
    }
}

/// A ring of questions.
#[derive(Debug, Default)]
pub struct Recorder {
    options: RecorderOptions,
    asked: Places<AtomicU64>,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    questions: VecDeque<Recorded>,
    bytes: usize,
}

/// The number of the next question.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A question, with what the step answered.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Unique while the broker runs.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    pub question: Question,
    /// The answer as [`Answer::describe`](crate::Answer::describe) shows it.
    pub answer: Value,
}

/// What a hook is asked. Passwords and authentication data are left out.
#[derive(Debug, Clone)]
pub enum Question {
    Connect(Arc<ConnectAttempt>),
    Authorize(Arc<Client>, OwnedAccess),
    Publish(Arc<Client>, Message),
    Deliver(Arc<Client>, Message),
}

/// As [`Access`], with a topic of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedAccess {
    pub action: Action,
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
    pub share_name: Option<String>,
}

impl From<&Access<'_>> for OwnedAccess {
    fn from(access: &Access<'_>) -> Self {
        let Access { action, topic, qos, retain, share_name } = *access;
        let share_name = share_name.map(str::to_owned);
        Self { action, topic: topic.to_owned(), qos, retain, share_name }
    }
}

impl OwnedAccess {
    pub fn view(&self) -> Access<'_> {
        let Self { action, topic, qos, retain, share_name } = self;
        let share_name = share_name.as_deref();
        Access { action: *action, topic, qos: *qos, retain: *retain, share_name }
    }
}

impl Question {
    /// A CONNECT without its secrets.
    pub fn connect(attempt: &ConnectAttempt) -> Self {
        Self::Connect(Arc::new(attempt.without_secrets()))
    }

    fn size(&self) -> usize {
        match self {
            Self::Connect(_) | Self::Authorize(..) => 0,
            Self::Publish(_, message) | Self::Deliver(_, message) => message.size(),
        }
    }

    /// The topic or the filter; empty for connect.
    pub fn topic(&self) -> &str {
        match self {
            Self::Connect(_) => "",
            Self::Authorize(_, access) => &access.topic,
            Self::Publish(_, message) | Self::Deliver(_, message) => message.topic().as_str(),
        }
    }

    /// Tenant, user name and client id, as far as they are known.
    pub fn whose(&self) -> (&str, &str, &str) {
        match self {
            Self::Connect(attempt) => (
                attempt.identity.tenant.as_deref().unwrap_or_default(),
                attempt.username.as_deref().unwrap_or_default(),
                &attempt.client_id,
            ),
            Self::Authorize(client, _) | Self::Publish(client, _) | Self::Deliver(client, _) => {
                (&client.tenant, &client.username, &client.client_id)
            }
        }
    }
}

impl Recorder {
    pub fn new(options: RecorderOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Whether the question that is asked now is to be kept.
    #[inline]
    pub fn samples(&self) -> bool {
        self.options.questions > 0
            && self.asked.own().fetch_add(1, Relaxed).is_multiple_of(self.options.every.max(1))
    }

    /// Whether questions are kept at all.
    pub fn is_on(&self) -> bool {
        self.options.questions > 0
    }

    pub fn keep(&self, question: Question, answer: Value, at: u64) {
        let size = question.size();
        if size > self.options.bytes {
            return;
        }
        let mut ring = self.ring.lock();
        while ring.questions.len() >= self.options.questions
            || ring.bytes + size > self.options.bytes
        {
            let Some(oldest) = ring.questions.pop_front() else { break };
            ring.bytes -= oldest.question.size();
        }
        ring.bytes += size;
        let number = NEXT.fetch_add(1, Relaxed);
        ring.questions.push_back(Recorded { number, at, question, answer });
    }

    /// What is kept, oldest first.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.ring.lock().questions.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use hookmq_codec::TopicName;
    use hookmq_core::NewMessage;

    use super::*;
    use crate::{ConnectionFacts, Identity, Secret};

    fn question(size: usize) -> Question {
        let connection = ConnectionFacts {
            listener: "l".into(),
            peer: None,
            protocol: hookmq_codec::ProtocolVersion::V5,
            encrypted: false,
        };
        let client = Client {
            tenant: "acme".into(),
            username: "u".into(),
            client_id: "c".into(),
            client_id_bound: true,
            roles: Default::default(),
            attributes: Default::default(),
            connection,
            certificate: None,
            attachments: Default::default(),
            limits: Default::default(),
            budget: Default::default(),
            steps: Default::default(),
        };
        let message = Message::new(NewMessage {
            topic: TopicName::new("t").unwrap(),
            forwarded_properties: &[],
            payload: &vec![0; size],
            qos: Qos::AtMostOnce,
            retain: false,
            expires_at: None,
            publisher: 0,
        });
        Question::Publish(Arc::new(client), message)
    }

    #[test]
    fn one_out_of_so_many_is_kept() {
        let recorder = Recorder::new(RecorderOptions { every: 10, ..RecorderOptions::default() });
        assert_eq!((0..100).filter(|_| recorder.samples()).count(), 10);
        let off = Recorder::new(RecorderOptions { questions: 0, ..RecorderOptions::default() });
        assert!((0..100).all(|_| !off.samples()));
    }

    #[test]
    fn the_oldest_make_room_in_number_and_in_bytes() {
        let options = RecorderOptions { questions: 3, every: 1, bytes: 5000 };
        let recorder = Recorder::new(options);
        let moments = || recorder.recorded().iter().map(|it| it.at).collect::<Vec<_>>();
        for at in 0..5 {
            recorder.keep(question(10), Value::Null, at);
        }
        assert_eq!(moments(), [2, 3, 4]);
        recorder.keep(question(4920), Value::Null, 5);
        assert_eq!(moments(), [5]);
        recorder.keep(question(5000), Value::Null, 6);
        assert_eq!(moments(), [5], "it is too large to be kept");
    }

    #[test]
    fn secrets_are_left_out() {
        let Question::Publish(client, _) = question(1) else { unreachable!("it is one") };
        let attempt = ConnectAttempt {
            connection: client.connection.clone(),
            certificate: None,
            client_id: "c".into(),
            username: Some("u".into()),
            password: Some(Secret::new(b"secret".to_vec())),
            authentication: None,
            waited: Default::default(),
            identity: Identity::default(),
        };
        let Question::Connect(kept) = Question::connect(&attempt) else { unreachable!("it is") };
        assert_eq!((kept.password.as_ref(), kept.username.as_deref()), (None, Some("u")));
    }
}
