//! What a guest answers, checked before anyone acts on it.

use std::num::NonZeroU16;

use hookmq_codec::{Qos, ReasonCode, TopicName};
use hookmq_hooks::{
    AuthorizeVerdict, ClientLimits, ConnectVerdict, DeliverVerdict, Denial, Effect, FailureKind,
    IdentityPatch, MessagePatch, PublishVerdict, StepFailure,
};

use crate::contract::types;
use crate::guest_log::cut;

const MAX_REASON_BYTES: usize = 1 << 10;
/// Roles, attributes or user properties in one answer.
const MAX_ITEMS: usize = 1024;

/// The failure codes of CONNACK (MQTT 5.0 section 3.2.2.2) that a plugin may answer.
const CONNECT_CODES: &[ReasonCode] = &[
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::ClientIdentifierNotValid,
    ReasonCode::BadUserNameOrPassword,
    ReasonCode::NotAuthorized,
    ReasonCode::ServerUnavailable,
    ReasonCode::ServerBusy,
    ReasonCode::Banned,
    ReasonCode::BadAuthenticationMethod,
    ReasonCode::QuotaExceeded,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::ConnectionRateExceeded,
];

/// The failure codes of PUBACK (MQTT 5.0 section 3.4.2.1) that a plugin may answer.
const PUBLISH_CODES: &[ReasonCode] = &[
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicNameInvalid,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
];

pub(crate) fn connect(verdict: types::ConnectVerdict) -> Result<ConnectVerdict, StepFailure> {
    Ok(match verdict {
        types::ConnectVerdict::Next(patch) => ConnectVerdict::Next(identity_patch(patch)?),
        types::ConnectVerdict::Accept(patch) => ConnectVerdict::Accept(identity_patch(patch)?),
        types::ConnectVerdict::Deny(refusal) => ConnectVerdict::Deny {
            reason_code: reason_code(refusal.reason_code, CONNECT_CODES, "CONNACK")?,
            reason: cut(&refusal.reason, MAX_REASON_BYTES).to_owned(),
        },
    })
}

pub(crate) fn authorize(verdict: types::AuthorizeVerdict) -> AuthorizeVerdict {
    match verdict {
        types::AuthorizeVerdict::Allow => AuthorizeVerdict::Allow,
        types::AuthorizeVerdict::AllowUpTo(most) => AuthorizeVerdict::AllowUpTo(qos(most)),
        types::AuthorizeVerdict::Abstain => AuthorizeVerdict::Abstain,
        types::AuthorizeVerdict::Deny(denial) => AuthorizeVerdict::Deny(Denial {
            effect: match denial.effect {
                types::Effect::Refuse => Effect::Refuse,
                types::Effect::AcknowledgeAndDrop => Effect::AcknowledgeAndDrop,
                types::Effect::Disconnect => Effect::Disconnect,
            },
            reason: cut(&denial.reason, MAX_REASON_BYTES).to_owned(),
        }),
    }
}

pub(crate) fn publish(verdict: types::PublishVerdict) -> Result<PublishVerdict, StepFailure> {
    Ok(match verdict {
        types::PublishVerdict::Pass => PublishVerdict::Pass,
        types::PublishVerdict::Consume => PublishVerdict::Consume,
        types::PublishVerdict::Drop(code) => {
            PublishVerdict::Drop(reason_code(code, PUBLISH_CODES, "PUBACK")?)
        }
        types::PublishVerdict::Replace(patch) => PublishVerdict::Replace(message_patch(patch)?),
    })
}

pub(crate) fn deliver(verdict: types::DeliverVerdict) -> Result<DeliverVerdict, StepFailure> {
    Ok(match verdict {
        types::DeliverVerdict::Pass => DeliverVerdict::Pass,
        types::DeliverVerdict::Drop => DeliverVerdict::Drop,
        types::DeliverVerdict::Replace(patch) => DeliverVerdict::Replace(message_patch(patch)?),
    })
}

fn identity_patch(patch: types::IdentityPatch) -> Result<IdentityPatch, StepFailure> {
    bounded("roles", patch.roles.len())?;
    bounded("attributes", patch.attributes.len())?;
    Ok(IdentityPatch {
        tenant: patch.tenant.map(Into::into),
        username: patch.username.map(Into::into),
        client_id: patch.client_id.map(Into::into),
        roles: patch.roles.into_iter().map(Into::into).collect(),
        attributes: patch
            .attributes
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
        limits: client_limits(patch.limits)?,
        ..IdentityPatch::default()
    })
}

fn client_limits(limits: types::ClientLimits) -> Result<ClientLimits, StepFailure> {
    let receive_maximum = limits.receive_maximum.map(|maximum| {
        NonZeroU16::new(maximum).ok_or_else(|| bad("a receive maximum of 0".into()))
    });
    Ok(ClientLimits {
        expires_at: limits.expires_at,
        session_expiry_maximum: limits.session_expiry_maximum,
        receive_maximum: receive_maximum.transpose()?,
    })
}

fn message_patch(patch: types::MessagePatch) -> Result<MessagePatch, StepFailure> {
    if let Some(topic) = &patch.topic {
        TopicName::new(topic).map_err(|error| bad(format!("the replaced topic: {error}")))?;
    }
    let user_properties = match patch.user_properties {
        None => None,
        Some(properties) => {
            bounded("user properties", properties.len())?;
            Some(properties.into_iter().map(|property| (property.name, property.value)).collect())
        }
    };
    Ok(MessagePatch {
        topic: patch.topic,
        payload: patch.payload,
        qos: patch.qos.map(qos),
        retain: patch.retain,
        content_type: patch.content_type,
        user_properties,
    })
}

fn bounded(what: &str, count: usize) -> Result<(), StepFailure> {
    if count > MAX_ITEMS {
        let message = format!("it answered {count} {what}; the limit is {MAX_ITEMS}");
        return Err(StepFailure::new(FailureKind::Limit, message));
    }
    Ok(())
}

fn reason_code(byte: u8, allowed: &[ReasonCode], packet: &str) -> Result<ReasonCode, StepFailure> {
    ReasonCode::from_byte(byte)
        .filter(|code| allowed.contains(code))
        .ok_or_else(|| bad(format!("0x{byte:02X} is no failure code that {packet} may carry")))
}

fn bad(message: String) -> StepFailure {
    StepFailure::new(FailureKind::BadOutput, message)
}

pub(crate) fn qos(qos: types::Qos) -> Qos {
    match qos {
        types::Qos::AtMostOnce => Qos::AtMostOnce,
        types::Qos::AtLeastOnce => Qos::AtLeastOnce,
        types::Qos::ExactlyOnce => Qos::ExactlyOnce,
    }
}
