//! The exchange between CONNECT and CONNACK.

use std::num::NonZeroU32;
use std::pin::pin;

use hookmq_codec::{
    Connect, DecodeError, Packet, PacketType, ProtocolVersion, ReasonCode, decode, frame,
};
use hookmq_hooks::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::{Refused, busy, refusal};
use crate::admission::Admission;
use crate::connection::Stream;
use crate::connection::exchange::{Challenge, Exchange, Turn, auth, secret};

const AUTH: u8 = PacketType::Auth as u8;
const DISCONNECT: u8 = PacketType::Disconnect as u8;

/// A client that has sent CONNECT and waits for CONNACK.
pub(super) struct Candidate<'a, S> {
    pub(super) admission: &'a Admission,
    pub(super) stream: &'a mut S,
    /// What was read behind the last packet.
    pub(super) behind: &'a mut Vec<u8>,
    pub(super) connect: &'a Connect<'a>,
    /// Bytes; what the broker takes from a stranger.
    pub(super) maximum_packet_size: u32,
    pub(super) deadline: Instant,
}

impl<S: Stream> Candidate<'_, S> {
    /// Runs `steps`, and between them and the client the exchange of its authentication method.
    pub(super) async fn authenticate<T>(
        mut self,
        exchange: &Exchange,
        steps: impl Future<Output = T>,
    ) -> Result<T, Refused> {
        let mut steps = pin!(steps);
        loop {
            let turn = self.admission.begin_authentication().map_err(busy)?;
            match std::future::poll_fn(|context| exchange.poll(steps.as_mut(), context)).await {
                Turn::Ask(challenge) => {
                    drop(turn);
                    self.ask(challenge).await?;
                }
                Turn::Done(done) => {
                    self.expect_silence()?;
                    return Ok(done);
                }
            }
        }
    }

    async fn ask(&mut self, Challenge { data, reply }: Challenge) -> Result<(), Refused> {
        let method = self.connect.properties.authentication_method.unwrap_or_default();
        let mut bytes = Vec::new();
        let asked = auth(ReasonCode::ContinueAuthentication, method, &data)
            .encode(ProtocolVersion::V5, &mut bytes);
        let maximum = self.connect.properties.maximum_packet_size.map_or(u32::MAX, NonZeroU32::get);
        if asked.is_err() || bytes.len() > maximum as usize {
            let reason = "the client takes no AUTH of the size that its method needs";
            return Err(refusal(ReasonCode::PacketTooLarge, reason).into());
        }
        let deadline = self.deadline;
        let answered = async {
            self.stream.write_all(&bytes).await.map_err(lost)?;
            self.stream.flush().await.map_err(lost)?;
            self.read_answer().await
        };
        let answer = match timeout_at(deadline, answered).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Refused::Silently("no AUTH in time".into())),
        };
        // A step that does not want it any more goes on without.
        let _ = reply.send(answer);
        Ok(())
    }

    /// Only AUTH and DISCONNECT may come before CONNACK `[MQTT-3.1.2-30]`.
    async fn read_answer(&mut self) -> Result<Secret, Refused> {
        loop {
            let packet = frame(self.behind, self.maximum_packet_size).map_err(refused)?;
            match first_packet_type(self.behind) {
                None | Some(AUTH) => {}
                Some(DISCONNECT) => return Err(left()),
                Some(_) => return Err(out_of_turn("another packet than AUTH before CONNACK")),
            }
            if let Some(packet) = packet {
                let length = packet.length;
                let answer = self.answer(decode(packet, ProtocolVersion::V5).map_err(refused)?)?;
                self.behind.drain(..length);
                return Ok(answer);
            }
            self.behind.reserve(1024);
            if self.stream.read_buf(self.behind).await.map_err(lost)? == 0 {
                return Err(Refused::Silently("closed before CONNACK".into()));
            }
        }
    }

    fn answer(&self, packet: Packet<'_>) -> Result<Secret, Refused> {
        let method = self.connect.properties.authentication_method;
        match packet {
            Packet::Auth(auth) if auth.properties.authentication_method != method => {
                Err(out_of_turn("AUTH with another authentication method"))
            }
            Packet::Auth(auth) if auth.reason_code == ReasonCode::ContinueAuthentication => {
                Ok(secret(auth.properties.authentication_data))
            }
            _ => Err(out_of_turn("AUTH that does not continue the authentication")),
        }
    }

    /// What is here already was sent before CONNACK, which only a client without a method may do.
    fn expect_silence(&self) -> Result<(), Refused> {
        let has_method = self.connect.properties.authentication_method.is_some();
        match first_packet_type(self.behind).filter(|_| has_method) {
            None => Ok(()),
            Some(DISCONNECT) => Err(left()),
            Some(_) => Err(out_of_turn("a packet before CONNACK that nobody asked for")),
        }
    }
}

fn first_packet_type(bytes: &[u8]) -> Option<u8> {
    bytes.first().map(|first| first >> 4)
}

fn left() -> Refused {
    Refused::Silently("the client left before CONNACK".into())
}

fn lost(error: std::io::Error) -> Refused {
    Refused::Silently(error.to_string())
}

fn refused(error: DecodeError) -> Refused {
    refusal(error.reason_code(), error.to_string()).into()
}

fn out_of_turn(reason: &str) -> Refused {
    refusal(ReasonCode::ProtocolError, reason).into()
}
