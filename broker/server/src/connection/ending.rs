//! How a connection ends: what the client is told, what becomes of its will and its session.

use std::time::Duration;

use hookmq_codec::{
    DecodeError, Disconnect, DisconnectProperties, Packet, ProtocolVersion, ReasonCode,
};
use hookmq_core::ReceiveMaximumExceeded;
use tokio::io::AsyncWriteExt;
use tracing::{debug, info};

use super::Stream;
use super::driver::Driver;
use crate::broker::publisher::Will;

/// Why a connection is over.
#[derive(Debug)]
pub enum Ending {
    /// The client sent DISCONNECT.
    Left { with_will: bool },
    /// The socket is closed or broken.
    Lost(String),
    /// The client broke the protocol.
    Violated(DecodeError),
    /// The client asked for what it may not, and is told why.
    Refused(ReasonCode, &'static str),
    /// The broker ends it with this code.
    Told(ReasonCode),
    /// A newer connection of the same client has the session.
    TakenOver { ends_session: bool },
}

/// Time for the last bytes to leave.
const FAREWELL: Duration = Duration::from_secs(1);

impl Ending {
    pub fn lost(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }

    /// DISCONNECT of at most `maximum` bytes, if the client is to be told anything. What does not fit
    /// is left out `[MQTT-3.14.2-3]`.
    fn disconnect(&self, server_reference: Option<&str>, maximum: u32) -> Vec<u8> {
        let Some(mut reason_code) = self.reason_code() else { return Vec::new() };
        if reason_code == ReasonCode::ServerShuttingDown && server_reference.is_some() {
            reason_code = ReasonCode::UseAnotherServer;
        }
        let reason = match self {
            Self::Violated(error) => Some(error.to_string()),
            Self::Refused(_, reason) => Some((*reason).to_owned()),
            _ => None,
        };
        let refers = matches!(reason_code, ReasonCode::UseAnotherServer | ReasonCode::ServerMoved);
        let properties = DisconnectProperties {
            reason_string: reason.as_deref(),
            server_reference: server_reference.filter(|_| refers),
            ..DisconnectProperties::default()
        };
        let short = DisconnectProperties::default();
        for properties in [properties, short] {
            let mut out = Vec::new();
            let disconnect = Packet::Disconnect(Disconnect { reason_code, properties });
            // Only what is longer than any packet is not encoded.
            if disconnect.encode(ProtocolVersion::V5, &mut out).is_ok()
                && out.len() <= maximum as usize
            {
                return out;
            }
        }
        Vec::new()
    }

    fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Left { .. } | Self::Lost(_) => None,
            Self::Violated(error) => Some(error.reason_code()),
            Self::Refused(reason_code, _) | Self::Told(reason_code) => Some(*reason_code),
            Self::TakenOver { .. } => Some(ReasonCode::SessionTakenOver),
        }
    }
}

impl From<DecodeError> for Ending {
    fn from(error: DecodeError) -> Self {
        Self::Violated(error)
    }
}

impl From<ReceiveMaximumExceeded> for Ending {
    fn from(_: ReceiveMaximumExceeded) -> Self {
        Self::Refused(
            ReasonCode::ReceiveMaximumExceeded,
            "more unacknowledged messages than the receive maximum",
        )
    }
}

impl<S: Stream> Driver<S> {
    /// Leaves the session, then the client: who waits for the session does not wait for the socket.
    pub(super) async fn finish(self, ending: Ending) {
        self.report(&ending);
        let mut will = self.will;
        match &ending {
            // A broker that stops on purpose has not lost its clients.
            Ending::Left { with_will: false } | Ending::Told(ReasonCode::ServerShuttingDown) => {
                will = None;
            }
            // A session that goes on keeps its delayed will back [MQTT-3.1.3-9].
            Ending::TakenOver { ends_session: false }
                if self.opened.session.outlives_connection() =>
            {
                will = will.filter(|will| will.delay.is_zero());
            }
            _ => {}
        }
        let waits =
            |will: &Will| !will.delay.is_zero() && !matches!(ending, Ending::TakenOver { .. });
        let (later, now) = match will {
            Some(will) if waits(&will) => (Some(will), None),
            will => (None, will),
        };
        self.broker.leave_session(&self.tenant, self.opened, self.batch, later);
        if let Some(will) = now {
            self.broker.publish_will(&self.tenant, *will);
        }
        let mut out = self.out;
        if self.terms.version.is_v5() {
            let server_reference = self.broker.protocol.server_reference.as_deref();
            out.extend(ending.disconnect(server_reference, self.terms.maximum_packet_size));
        }
        let mut stream = self.stream;
        // The client may be gone or may not read; either way the connection ends now.
        let _ = tokio::time::timeout(FAREWELL, async {
            if !matches!(ending, Ending::Lost(_)) {
                stream.write_all(&out[self.written..]).await?;
            }
            stream.shutdown().await
        })
        .await;
    }

    fn report(&self, ending: &Ending) {
        let tenant = &*self.client.tenant;
        let client_id = &*self.client.client_id;
        match ending {
            Ending::Left { .. } => debug!(tenant, ?client_id, "client left"),
            Ending::Lost(why) => debug!(tenant, ?client_id, why, "client lost"),
            Ending::Violated(error) => {
                info!(tenant, ?client_id, reason_code = %error.reason_code(), %error, "client disconnected");
            }
            Ending::Refused(reason_code, reason) => {
                info!(tenant, ?client_id, %reason_code, reason, "client disconnected");
            }
            Ending::Told(reason_code) => {
                info!(tenant, ?client_id, %reason_code, "client disconnected");
            }
            Ending::TakenOver { .. } => info!(tenant, ?client_id, "session taken over"),
        }
    }
}
