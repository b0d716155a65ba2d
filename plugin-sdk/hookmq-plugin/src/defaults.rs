//! Default values, so that a test or an answer names only what matters to it.

// The types are generated, so nothing can be derived where they stand.
#![allow(clippy::derivable_impls)]

use crate::{
    Certificate, Client, ClientLimits, ConnectAttempt, Connection, DeliverVerdict,
    DistinguishedName, Identity, IdentityPatch, Message, MessagePatch, MessageProperties, Protocol,
    PublishVerdict, Qos,
};

impl Default for Client {
    fn default() -> Self {
        Self {
            tenant: String::new(),
            username: String::new(),
            client_id: String::new(),
            client_id_bound: false,
            roles: Vec::new(),
            attributes: Vec::new(),
            connection: Vec::new(),
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            listener: String::new(),
            peer: None,
            protocol: Protocol::V5,
            encrypted: false,
            certificate: None,
        }
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self {
            subject: DistinguishedName::default(),
            issuer: DistinguishedName::default(),
            san_dns: Vec::new(),
            san_uri: Vec::new(),
            san_email: Vec::new(),
            san_ip: Vec::new(),
            serial: String::new(),
            fingerprint: String::new(),
            not_before: 0,
            not_after: 0,
            extended_key_usage: Vec::new(),
            trust_anchor: String::new(),
            vouched_by_proxy: false,
        }
    }
}

impl Default for DistinguishedName {
    fn default() -> Self {
        Self {
            common_name: Vec::new(),
            organization: Vec::new(),
            organizational_unit: Vec::new(),
            country: Vec::new(),
            text: String::new(),
        }
    }
}

impl Default for ConnectAttempt {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            client_id: String::new(),
            username: None,
            password: None,
            identity: Identity::default(),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            tenant: None,
            username: None,
            client_id: None,
            roles: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

impl Default for MessageProperties {
    fn default() -> Self {
        Self {
            payload_is_text: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }
    }
}

impl Default for Message {
    fn default() -> Self {
        Self {
            topic: String::new(),
            payload: None,
            qos: Qos::AtMostOnce,
            retain: false,
            properties: None,
        }
    }
}

impl Default for MessagePatch {
    fn default() -> Self {
        Self {
            topic: None,
            payload: None,
            qos: None,
            retain: None,
            content_type: None,
            user_properties: None,
        }
    }
}

impl Default for IdentityPatch {
    fn default() -> Self {
        Self {
            tenant: None,
            username: None,
            client_id: None,
            roles: Vec::new(),
            attributes: Vec::new(),
            limits: ClientLimits::default(),
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { expires_at: None, session_expiry_maximum: None, receive_maximum: None }
    }
}

impl Default for PublishVerdict {
    fn default() -> Self {
        Self::Pass
    }
}

impl Default for DeliverVerdict {
    fn default() -> Self {
        Self::Pass
    }
}
