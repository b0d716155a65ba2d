//! What the broker has sent.

use hookmq_codec::{Packet, PacketId, ProtocolVersion, Publish, ReasonCode, decode, frame};

/// A packet from the broker, as it was on the wire.
#[derive(Clone)]
pub struct Received {
    bytes: Vec<u8>,
    version: ProtocolVersion,
}

impl Received {
    /// `bytes` are one whole packet.
    pub(super) fn new(bytes: Vec<u8>, version: ProtocolVersion) -> Self {
        Self { bytes, version }
    }

    pub fn packet(&self) -> Packet<'_> {
        let packet = frame(&self.bytes, u32::MAX).expect("it was framed before");
        let packet = packet.expect("it is whole");
        decode(packet, self.version).expect("the broker sends well-formed packets")
    }

    #[track_caller]
    pub fn publish(&self) -> Publish<'_> {
        match self.packet() {
            Packet::Publish(publish) => publish,
            other => panic!("not PUBLISH: {other:?}"),
        }
    }

    /// Of a CONNACK.
    #[track_caller]
    pub fn session_present(&self) -> bool {
        match self.packet() {
            Packet::ConnAck(connack) => connack.session_present,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// The code of PUBACK, PUBREC, PUBREL or PUBCOMP, which must be for `id`.
    #[track_caller]
    pub fn acknowledges(&self, id: PacketId) -> ReasonCode {
        match self.packet() {
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => {
                assert_eq!(ack.packet_id, id);
                ack.reason_code
            }
            other => panic!("no acknowledgement: {other:?}"),
        }
    }

    /// As on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
