//! How a connection ends: what the client is told, what becomes of its will and its session.

use std::time::Duration;

use hookmq_codec::{
    DecodeError, Disconnect, DisconnectProperties, Packet, PacketType, ProtocolVersion, ReasonCode,
};
use hookmq_core::ReceiveMaximumExceeded;
use hookmq_store::{Change, MessageId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    TakenOver,
}

/// Time for the last bytes to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes that are read from a peer that has been told to go.
const UNREAD: u64 = 1 << 20;

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

    /// What becomes of the will. `goes_on`: the session outlives the connection.
    fn will(&self, goes_on: bool, will: Option<Box<Will>>) -> WillDue {
        let Some(will) = will else { return WillDue::Never };
        match self {
            // A broker that stops on purpose has not lost its clients.
            Self::Left { with_will: false } | Self::Told(ReasonCode::ServerShuttingDown) => {
                WillDue::Never
            }
            _ if will.delay.is_zero() => WillDue::Now(will),
            // The session is over.
            _ if !goes_on => WillDue::Now(will),
            _ => WillDue::Later(will),
        }
    }

    fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Left { .. } | Self::Lost(_) => None,
            // What only CONNACK can say comes from a second CONNECT, of another protocol.
            Self::Violated(error) => Some(match error.reason_code() {
                code if code.is_allowed_in(PacketType::Disconnect) => code,
                _ => ReasonCode::ProtocolError,
            }),
            Self::Refused(reason_code, _) | Self::Told(reason_code) => Some(*reason_code),
            Self::TakenOver => Some(ReasonCode::SessionTakenOver),
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

/// When a will is to be published.
enum WillDue {
    Never,
    Now(Box<Will>),
    /// After its delay, if the client has not come back.
    Later(Box<Will>),
}

/// Sends the last bytes and closes. What the peer still sends is read for a while and thrown away: a
/// socket that is closed with unread bytes is reset, and the reset may overtake what the peer is told.
pub(super) async fn farewell(mut stream: impl Stream, last: &[u8]) {
    // The peer may be gone or may not read; either way the connection ends now.
    let _ = tokio::time::timeout(FAREWELL, async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        if !last.is_empty() {
            let mut rest = stream.take(UNREAD);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        }
        std::io::Result::Ok(())
    })
    .await;
}

impl<S: Stream> Driver<S> {
    /// Leaves the session, then the client: who waits for the session does not wait for the socket.
    pub(super) async fn finish(mut self: Box<Self>, ending: Ending) {
        self.report(&ending);
        if self.opened.handle.is_doomed() {
            self.will = None;
        } else if self.opened.session.outlives_connection() {
            self.queue_retained_for_later();
        }
        let will = self.will.take();
        let stored_will = will.as_ref().map(|will| MessageId(will.message.stored()));
        let mut withdraws_will = false;
        let (now, later) = match ending.will(self.opened.session.outlives_connection(), will) {
            WillDue::Never => {
                withdraws_will = stored_will.is_some();
                let session = self.opened.handle.key.clone();
                self.owed()
                    .changes
                    .extend(stored_will.map(|id| Change::WillCleared { session, id }));
                (None, None)
            }
            WillDue::Now(will) => (Some(will), None),
            WillDue::Later(will) => (None, Some(will)),
        };
        let commit = self.store([]);
        let Self { broker, tenant, terms, opened, batch, stream, mut out, written, .. } = *self;
        let control = opened.control.clone();
        // Before anybody else has the session: what the store holds of it is that of the next client.
        if let Some(will) = now {
            broker.publish_will(&tenant, *will);
        }
        broker.leave_session(&tenant, opened, batch, later);
        tenant.meter.gone.add_gone(&control.traffic);
        // It holds the connection's place in the tenant, too.
        drop(control);
        if terms.version.is_v5() {
            let server_reference = broker.protocol.server_reference.as_deref();
            out.extend(ending.disconnect(server_reference, terms.maximum_packet_size));
        }
        if withdraws_will {
            // A client that sees its connection closed has left without a will.
            broker.durable(commit).await;
        }
        let last = if matches!(ending, Ending::Lost(_)) { &[] } else { &out[written..] };
        farewell(stream, last).await;
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
            Ending::TakenOver => info!(tenant, ?client_id, "session taken over"),
        }
    }
}
