//! What may be asked: about a client that is connected, one that is described, or as it was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hookmq_codec::{ProtocolVersion, Qos, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, Attribute, CertificateFacts, Client, ConnectAttempt, ConnectionFacts, Control,
    Hook, Identity, OwnedAccess, Pipeline, ProgramKind, Question, Secret, TenantStepsCell, Voucher,
};
use serde::{Deserialize, Serialize};

use super::super::Admin;
use super::super::error::ApiError;

/// A question, as it comes in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The number of a recorded one; all else is for one that is described.
    recorded: Option<u64>,
    #[serde(default = "default_tenant")]
    tenant: String,
    #[serde(default)]
    client_id: String,
    /// Describes a client, unless it is the one that is connected. For connect the claim.
    username: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    /// Vouched for by a step named `explain`.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    listener: String,
    certificate: Option<CertificateFacts>,
    /// For connect.
    password: Option<String>,
    #[serde(default = "default_action")]
    action: AskedAction,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    payload: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum AskedAction {
    Connect,
    Publish,
    Subscribe,
    Receive,
}

/// Where the client of a question comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    Connected,
    Described,
    Recorded,
}

fn default_tenant() -> String {
    "default".into()
}

fn default_action() -> AskedAction {
    AskedAction::Publish
}

impl Asked {
    /// Whether it is for a client of this tenant and nobody else: what was recorded may be another's,
    /// and what connect steps would say is nobody's yet.
    pub(super) fn is_about(&self, tenant: &str) -> bool {
        self.recorded.is_none() && self.action != AskedAction::Connect && self.tenant == tenant
    }

    pub(super) async fn questions(
        &self,
        admin: &Admin,
        pipeline: &Pipeline,
    ) -> Result<(Vec<Question>, Origin), ApiError> {
        if let Some(number) = self.recorded {
            let message = "that question is not recorded, or not any more";
            let found = admin.programs.question(number);
            let found = found.ok_or_else(|| ApiError::not_found(message))?;
            return Ok((vec![found.question], Origin::Recorded));
        }
        if self.action == AskedAction::Connect {
            let attempt = Question::Connect(Arc::new(self.attempt()));
            return Ok((vec![attempt], Origin::Described));
        }
        let (client, origin) = self.client(admin, pipeline).await?;
        let qos =
            Qos::from_bits(self.qos).ok_or_else(|| ApiError::bad_request("qos: 0, 1 or 2"))?;
        let access = |action, topic: &str, share_name: Option<&str>| {
            let access = Access { action, topic, qos, retain: self.retain, share_name };
            Question::Authorize(client.clone(), OwnedAccess::from(&access))
        };
        let questions = match self.action {
            AskedAction::Subscribe => {
                let filter = TopicFilter::new(&*self.topic)
                    .map_err(|error| ApiError::bad_request(format!("topic: {error}")))?;
                vec![access(Action::Subscribe, filter.bare(), filter.share_name())]
            }
            AskedAction::Receive => vec![Question::Deliver(client.clone(), self.message(qos)?)],
            AskedAction::Publish | AskedAction::Connect => {
                let publish = Question::Publish(client.clone(), self.message(qos)?);
                vec![access(Action::Publish, &self.topic, None), publish]
            }
        };
        Ok((questions, origin))
    }

    /// Everything that it describes.
    #[cfg(any(test, fuzzing))]
    pub(super) fn describe(&self) -> Result<(), ApiError> {
        let _ = (self.attempt(), self.described("kim", Arc::default()), self.is_about("acme"));
        self.message(Qos::AtMostOnce).map(drop)
    }

    fn attempt(&self) -> ConnectAttempt {
        ConnectAttempt {
            connection: self.connection(),
            certificate: self.certificate.clone().map(Arc::new),
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            password: self.password.as_ref().map(|it| Secret::new(it.clone().into_bytes())),
            authentication: None,
            waited: Default::default(),
            // What else is said would be for the steps to find out.
            identity: Identity::default(),
        }
    }

    /// The client that is connected, unless something is said that it is not.
    async fn client(
        &self,
        admin: &Admin,
        pipeline: &Pipeline,
    ) -> Result<(Arc<Client>, Origin), ApiError> {
        let tenants = admin.broker.tenants();
        let tenant = tenants.iter().find(|tenant| *tenant.name == *self.tenant);
        let session = tenant.and_then(|tenant| tenant.session(&self.client_id));
        let connected = session.and_then(|session| session.client());
        let is_described = !self.roles.is_empty()
            || !self.attributes.is_empty()
            || !self.listener.is_empty()
            || self.certificate.is_some();
        match (connected, &self.username) {
            (None, None) => {
                let message = "no such client is connected: describe it with a username";
                Err(ApiError::not_found(message))
            }
            (Some(_), None) if is_described => {
                let message = "the client is connected and asked about as it is: describe another \
                     with a username";
                Err(ApiError::bad_request(message))
            }
            (Some(client), None) => Ok((client, Origin::Connected)),
            (Some(client), Some(username)) if !is_described && *client.username == **username => {
                Ok((client, Origin::Connected))
            }
            (_, Some(username)) => {
                let rules = admin.broker.tenant_programs.as_ref();
                let steps = rules.and_then(|rules| rules.known_cell(&self.tenant));
                let client = self.described(username, steps.unwrap_or_default());
                Ok((Arc::new(complete(admin, pipeline, client).await?), Origin::Described))
            }
        }
    }

    fn described(&self, username: &str, steps: Arc<TenantStepsCell>) -> Client {
        let vouched_by = Voucher::Step("explain".into());
        let attributes = self.attributes.iter().map(|(name, value)| {
            let attribute = Attribute { value: value.clone(), vouched_by: vouched_by.clone() };
            (name.as_str().into(), attribute)
        });
        Client {
            tenant: self.tenant.as_str().into(),
            username: username.into(),
            client_id: self.client_id.as_str().into(),
            client_id_bound: !self.client_id.is_empty(),
            roles: self.roles.iter().map(|role| role.as_str().into()).collect(),
            attributes: attributes.collect(),
            connection: self.connection(),
            certificate: self.certificate.clone().map(Arc::new),
            attachments: Default::default(),
            limits: Default::default(),
            budget: Default::default(),
            steps,
        }
    }

    fn connection(&self) -> ConnectionFacts {
        ConnectionFacts {
            listener: self.listener.as_str().into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: self.certificate.is_some(),
        }
    }

    fn message(&self, qos: Qos) -> Result<Message, ApiError> {
        let topic = TopicName::new(&self.topic)
            .map_err(|error| ApiError::bad_request(format!("topic: {error}")))?;
        let payload = match (&self.payload, &self.payload_base64) {
            (None, None) => vec![],
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(base64)) => BASE64_STANDARD
                .decode(base64)
                .map_err(|error| ApiError::bad_request(format!("payload_base64: {error}")))?,
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request("payload and payload_base64: give one of them"));
            }
        };
        Ok(Message::new(NewMessage {
            topic,
            forwarded_properties: &[],
            payload: &payload,
            qos,
            retain: self.retain,
            expires_at: None,
            publisher: 0,
        }))
    }
}

/// With what the connect step `database` would have looked up, where there is one for the client.
async fn complete(
    admin: &Admin,
    pipeline: &Pipeline,
    mut client: Client,
) -> Result<Client, ApiError> {
    let step = pipeline.steps(Hook::Connect).iter().find(|step| {
        let program = &step.spec.program;
        let is_database = program.kind == ProgramKind::Builtin && &*program.name == "database";
        is_database && step.wants_client(&client)
    });
    let (Some(step), Some(directory)) = (step, &admin.directory) else { return Ok(client) };
    match directory.complete(&mut client).await {
        Err(error) => Err(ApiError::unavailable(error.to_string())),
        Ok(Err(refused)) if step.spec.control == Control::Required => {
            let (username, tenant) = (&client.username, &client.tenant);
            let message = format!("{username:?} of {tenant:?} would not be let in: {refused}");
            Err(ApiError::not_found(message))
        }
        Ok(Ok(()) | Err(_)) => Ok(client),
    }
}
