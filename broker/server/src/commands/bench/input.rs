//! What a program is asked when it is measured: given on the command line, or something usual.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use hookmq_access::certificate_facts;
use hookmq_codec::{ProtocolVersion, Qos, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Action, CertificateFacts, Client, ConnectAttempt, ConnectionFacts, Hook, Identity, OwnedAccess,
    Program, Question, Secret,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::text_or_file;

/// The client and what it does.
#[derive(Debug, Args)]
pub struct Input {
    /// The message's topic; otherwise one that the program asks for.
    #[arg(long)]
    topic: Option<String>,
    /// The message's payload, or @FILE.
    #[arg(long, default_value = r#"{"temperature": 21.5, "unit": "C"}"#)]
    payload: String,
    /// What authorize is asked about.
    #[arg(long, default_value = "publish")]
    action: ActionName,
    /// The client's name; in connect, what it claims.
    #[arg(long, default_value = "bench")]
    username: String,
    /// In connect, the client's password, or @FILE.
    #[arg(long)]
    password: Option<String>,
    /// A role of the client; may be repeated.
    #[arg(long)]
    role: Vec<String>,
    /// A PEM file with the client's certificate.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The name of the trust anchor that verified the certificate.
    #[arg(long, value_name = "NAME", default_value = "devices")]
    trust_anchor: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ActionName {
    Publish,
    Subscribe,
    Receive,
}

impl Input {
    pub(super) fn question(&self, hook: Hook, program: &dyn Program) -> Result<Question> {
        let usual = || program.topics().first().map_or("devices/x/telemetry".into(), example);
        let topic = self.topic.clone().unwrap_or_else(usual);
        Ok(match hook {
            Hook::Connect => Question::Connect(Arc::new(self.attempt()?)),
            Hook::Authorize => {
                let action = match self.action {
                    ActionName::Publish => Action::Publish,
                    ActionName::Subscribe => Action::Subscribe,
                    ActionName::Receive => Action::Receive,
                };
                let access = OwnedAccess {
                    action,
                    topic,
                    qos: Qos::AtMostOnce,
                    retain: false,
                    share_name: None,
                };
                Question::Authorize(self.client()?, access)
            }
            Hook::Publish => Question::Publish(self.client()?, self.message(&topic)?),
            Hook::Deliver => Question::Deliver(self.client()?, self.message(&topic)?),
        })
    }

    fn message(&self, topic: &str) -> Result<Message> {
        Ok(Message::new(NewMessage {
            topic: TopicName::new(topic).map_err(|error| anyhow!("--topic {topic}: {error}"))?,
            forwarded_properties: &[],
            payload: &text_or_file(&self.payload)?,
            qos: Qos::AtMostOnce,
            retain: false,
            expires_at: None,
            publisher: 0,
        }))
    }

    fn client(&self) -> Result<Arc<Client>> {
        Ok(Arc::new(Client {
            tenant: "default".into(),
            username: self.username.as_str().into(),
            client_id: "bench".into(),
            client_id_bound: true,
            roles: self.role.iter().map(|role| role.as_str().into()).collect(),
            attributes: Default::default(),
            connection: self.connection(),
            certificate: self.facts()?,
            attachments: Default::default(),
            limits: Default::default(),
            budget: Default::default(),
            steps: Default::default(),
        }))
    }

    fn attempt(&self) -> Result<ConnectAttempt> {
        let password = self.password.as_deref().map(text_or_file).transpose()?;
        Ok(ConnectAttempt {
            connection: self.connection(),
            certificate: self.facts()?,
            client_id: "bench".into(),
            username: Some(self.username.clone()),
            password: password.map(Secret::new),
            authentication: None,
            waited: Default::default(),
            identity: Identity::default(),
        })
    }

    fn connection(&self) -> ConnectionFacts {
        let encrypted = self.certificate.is_some();
        let protocol = ProtocolVersion::V5;
        ConnectionFacts { listener: "bench".into(), peer: None, protocol, encrypted }
    }

    fn facts(&self) -> Result<Option<Arc<CertificateFacts>>> {
        let Some(file) = &self.certificate else { return Ok(None) };
        let shown = file.display();
        let certificate = CertificateDer::from_pem_file(file)
            .with_context(|| format!("{shown} holds no certificate in PEM form"))?;
        let facts = certificate_facts(&certificate, &self.trust_anchor);
        Ok(Some(Arc::new(facts.with_context(|| format!("the certificate in {shown}"))?)))
    }
}

/// A topic that the filter matches.
fn example(filter: &hookmq_codec::TopicFilter) -> String {
    let level = |level| if matches!(level, "+" | "#") { "x" } else { level };
    filter.as_str().split('/').map(level).collect::<Vec<_>>().join("/")
}

/// The question in a few words.
pub(super) fn outline(question: &Question) -> String {
    let bytes = |message: &Message| format!("{} bytes", message.payload().len());
    match question {
        Question::Connect(attempt) => {
            let password = attempt.password.as_ref().map(|_| ", a password");
            let certificate = attempt.certificate.as_ref().map(|_| ", a certificate");
            let username = attempt.username.as_deref().unwrap_or_default();
            let (password, certificate) = (password.unwrap_or(""), certificate.unwrap_or(""));
            format!("username {username:?}{password}{certificate}")
        }
        Question::Authorize(_, access) => {
            format!("{} {}", format!("{:?}", access.action).to_lowercase(), access.topic)
        }
        Question::Publish(_, message) | Question::Deliver(_, message) => {
            format!("{} on {}", bytes(message), message.topic().as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use hookmq_codec::TopicFilter;

    use super::*;

    #[test]
    fn the_usual_topic_is_one_that_the_filter_matches() {
        for filter in ["a/+/b", "#", "a/#", "+", "$SYS/#"] {
            let filter = TopicFilter::new(filter).unwrap();
            assert!(filter.matches(TopicName::new(&example(&filter)).unwrap()), "{filter:?}");
        }
    }
}
