//! How a connection ends: what the client is told, what becomes of its will and its session.

use std::time::Duration;

use hookmq_codec::{DecodeError, Disconnect, DisconnectProperties, Packet, PacketType, ReasonCode};
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

    fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Left { .. } | Self::Lost(_) => None,
            // What only CONNACK can say comes from a second CONNECT, of another protocol.
            Self::Violated(error) => Some(match error.reason_code() {
                code if code.is_allowed_in(PacketType::Disconnect) => code,
                _ => ReasonCode::ProtocolError,
            }),
            Self::Told(reason_code) => Some(*reason_code),
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
        Self::Told(ReasonCode::ReceiveMaximumExceeded)
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
        if let Some(reason_code) = ending.reason_code().filter(|_| self.terms.version.is_v5()) {
            let properties = DisconnectProperties::default();
            let disconnect = Packet::Disconnect(Disconnect { reason_code, properties });
            let before = out.len();
            // A DISCONNECT without properties can be encoded.
            let _ = disconnect.encode(self.terms.version, &mut out);
            if out.len() - before > self.terms.maximum_packet_size as usize {
                out.truncate(before);
            }
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
            Ending::Told(reason_code) => {
                info!(tenant, ?client_id, %reason_code, "client disconnected");
            }
            Ending::TakenOver { .. } => info!(tenant, ?client_id, "session taken over"),
        }
    }
}
