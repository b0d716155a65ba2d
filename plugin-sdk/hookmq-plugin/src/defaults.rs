//! Default values, so that a test or an answer names only what matters to it.

// The types are generated, so nothing can be derived where they stand.
#![allow(clippy::derivable_impls)]

use crate::{
    Client, ClientLimits, DeliverVerdict, IdentityPatch, Message, MessagePatch, PublishVerdict, Qos,
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
