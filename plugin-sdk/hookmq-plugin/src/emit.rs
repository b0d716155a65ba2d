//! Messages that the plugin makes itself, in the client's tenant. Needs `emit` filters in the
//! manifest that the operator grants. Only `publish` may emit.
//!
//! ```
//! use hookmq_plugin::emit::{self, Emission};
//! # let host = hookmq_plugin::test::Host::new();
//!
//! emit::publish(&Emission::new("alerts/boiler", "too hot").retained())?;
//! # assert_eq!(host.emitted()[0].topic, "alerts/boiler");
//! # Ok::<(), String>(())
//! ```

use crate::Qos;
pub use crate::bindings::emit::{Emission, Error};

/// Sends the message through the publish hooks when the call has ended well; a call that fails has
/// emitted nothing.
///
/// # Errors
/// Where the topic is none or not granted, the call has emitted as much as it may, or the hook is
/// not `publish`.
pub fn publish(message: &Emission) -> Result<(), Error> {
    crate::host::emit::publish(message)
}

impl Emission {
    /// A message of QoS 0 that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos: Qos::AtMostOnce, retain: false }
    }

    /// With another QoS.
    pub fn qos(self, qos: Qos) -> Self {
        Self { qos, ..self }
    }

    /// Kept for later subscribers.
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        let words = match error {
            Error::Topic => "the topic is not one that is granted",
            Error::TooMany => "this call has emitted as much as it may",
            Error::NotHere => "only publish may emit",
        };
        format!("emit: {words}")
    }
}
