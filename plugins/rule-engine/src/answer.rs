//! From the engine's verdicts to the contract's.

use hookmq_codec::Qos;
use hookmq_hooks as hooks;
use hookmq_plugin::{
    AuthorizeVerdict, ClientLimits, ConnectVerdict, DeliverVerdict, Denial, Effect, IdentityPatch,
    MessagePatch, PublishVerdict, Refusal, UserProperty,
};

pub fn connect(verdict: hooks::ConnectVerdict) -> Result<ConnectVerdict, String> {
    use hooks::ConnectVerdict as V;
    match verdict {
        V::Next(patch) => Ok(ConnectVerdict::Next(identity(patch))),
        V::Accept(patch) => Ok(ConnectVerdict::Accept(identity(patch))),
        V::Deny { reason_code, reason } => {
            Ok(ConnectVerdict::Deny(Refusal { reason_code: reason_code as u8, reason }))
        }
        V::Authenticated { .. } => Err("a rule cannot hold an exchange".into()),
    }
}

fn identity(patch: hooks::IdentityPatch) -> IdentityPatch {
    let text = |text: Option<std::sync::Arc<str>>| text.map(|text| text.to_string());
    IdentityPatch {
        tenant: text(patch.tenant),
        username: text(patch.username),
        client_id: text(patch.client_id),
        roles: patch.roles.iter().map(ToString::to_string).collect(),
        attributes: patch
            .attributes
            .into_iter()
            .map(|(name, value)| (name.to_string(), value))
            .collect(),
        limits: ClientLimits {
            expires_at: patch.limits.expires_at,
            session_expiry_maximum: patch.limits.session_expiry_maximum,
            receive_maximum: patch.limits.receive_maximum.map(Into::into),
        },
    }
}

pub fn authorize(verdict: hooks::AuthorizeVerdict) -> AuthorizeVerdict {
    use hooks::AuthorizeVerdict as V;
    match verdict {
        V::Allow => AuthorizeVerdict::Allow,
        V::AllowUpTo(most) => AuthorizeVerdict::AllowUpTo(qos(most)),
        V::Abstain => AuthorizeVerdict::Abstain,
        V::Deny(hooks::Denial { effect, reason }) => {
            let effect = match effect {
                hooks::Effect::Refuse => Effect::Refuse,
                hooks::Effect::AcknowledgeAndDrop => Effect::AcknowledgeAndDrop,
                hooks::Effect::Disconnect => Effect::Disconnect,
            };
            AuthorizeVerdict::Deny(Denial { effect, reason })
        }
    }
}

pub fn publish(verdict: hooks::PublishVerdict) -> PublishVerdict {
    use hooks::PublishVerdict as V;
    match verdict {
        V::Pass => PublishVerdict::Pass,
        V::Replace(patch) => PublishVerdict::Replace(message(patch)),
        V::Drop(reason_code) => PublishVerdict::Drop(reason_code as u8),
        V::Consume => PublishVerdict::Consume,
    }
}

pub fn deliver(verdict: hooks::DeliverVerdict) -> DeliverVerdict {
    use hooks::DeliverVerdict as V;
    match verdict {
        V::Pass => DeliverVerdict::Pass,
        V::Replace(patch) => DeliverVerdict::Replace(message(patch)),
        V::Drop => DeliverVerdict::Drop,
    }
}

fn message(patch: hooks::MessagePatch) -> MessagePatch {
    let pairs = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(name, value)| UserProperty { name, value }).collect()
    };
    MessagePatch {
        topic: patch.topic,
        payload: patch.payload,
        qos: patch.qos.map(qos),
        retain: patch.retain,
        content_type: patch.content_type,
        user_properties: patch.user_properties.map(pairs),
    }
}

pub fn qos(qos: Qos) -> hookmq_plugin::Qos {
    match qos {
        Qos::AtMostOnce => hookmq_plugin::Qos::AtMostOnce,
        Qos::AtLeastOnce => hookmq_plugin::Qos::AtLeastOnce,
        Qos::ExactlyOnce => hookmq_plugin::Qos::ExactlyOnce,
    }
}
