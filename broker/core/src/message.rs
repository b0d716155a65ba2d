//! An application message: checked once, stored once, shared by reference ever after.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hookmq_codec::{DecodeError, PublishProperties, Qos, TopicName, decode_forwarded};
use triomphe::{Arc, ThinArc, UniqueArc};

use crate::CommitSequence;

/// An immutable message in one allocation: topic, forwarded properties and payload side by side.
///
/// The bytes are copied out of the read buffer once. A slice of that buffer would pin all of it for
/// as long as the slowest subscriber's queue holds the message.
#[derive(Clone)]
pub struct Message(ThinArc<Header, u8>);

/// What a message is made from.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    pub topic: TopicName<'a>,
    /// As written by [`PublishProperties::encode_forwarded`].
    pub forwarded_properties: &'a [u8],
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    /// The message is not delivered from this instant on.
    pub expires_at: Option<Instant>,
    /// The session that published it, for the no-local option; 0 where there is none.
    pub publisher: u64,
}

struct Header {
    expires_at: Option<Instant>,
    publisher: u64,
    topic_length: u32,
    properties_length: u32,
    qos: Qos,
    retain: bool,
    /// Under which id the store has it; 0 where it has not.
    stored: AtomicU64,
    /// What has to be durable before anybody is sent the message.
    onward_after: AtomicU64,
}

/// Bytes that are counted for a message beside its own. Stores hold sizes with it, so it stays.
const OVERHEAD: usize = 40;

impl Message {
    pub fn new(parts: NewMessage<'_>) -> Self {
        let header = Header {
            expires_at: parts.expires_at,
            publisher: parts.publisher,
            topic_length: parts.topic.as_str().len() as u32,
            properties_length: parts.forwarded_properties.len() as u32,
            qos: parts.qos,
            retain: parts.retain,
            stored: AtomicU64::new(0),
            onward_after: AtomicU64::new(CommitSequence::NONE.0),
        };
        let pieces = [parts.topic.as_str().as_bytes(), parts.forwarded_properties, parts.payload];
        Self(one_allocation(header, pieces))
    }

    #[inline]
    #[allow(unsafe_code)]
    pub fn topic(&self) -> TopicName<'_> {
        let bytes = &self.0.slice[..self.0.header.header.topic_length as usize];
        // SAFETY: `new` copied these bytes from the `&str` inside a `TopicName`.
        TopicName::from_checked(unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    #[inline]
    pub fn payload(&self) -> &[u8] {
        let header = &self.0.header.header;
        &self.0.slice[(header.topic_length + header.properties_length) as usize..]
    }

    /// The properties that go to subscribers unaltered, as encoded for the wire.
    #[inline]
    pub fn forwarded_properties(&self) -> &[u8] {
        let header = &self.0.header.header;
        let start = header.topic_length as usize;
        &self.0.slice[start..start + header.properties_length as usize]
    }

    /// The forwarded properties as values.
    ///
    /// # Errors
    /// None for messages that came through the codec.
    pub fn properties(&self) -> Result<PublishProperties<'_>, DecodeError> {
        decode_forwarded(self.forwarded_properties())
    }

    pub fn qos(&self) -> Qos {
        self.0.header.header.qos
    }

    pub fn retain(&self) -> bool {
        self.0.header.header.retain
    }

    pub fn expires_at(&self) -> Option<Instant> {
        self.0.header.header.expires_at
    }

    pub fn publisher(&self) -> u64 {
        self.0.header.header.publisher
    }

    /// Under which id the store has this message; 0 where it has not.
    #[inline]
    pub fn stored(&self) -> u64 {
        // It is set before others are given the message, by ways that order memory.
        self.0.header.header.stored.load(Ordering::Relaxed)
    }

    /// Remembers under which id the message is stored. Before anybody else has it.
    pub fn set_stored(&self, id: u64) {
        self.0.header.header.stored.store(id, Ordering::Relaxed);
    }

    /// What has to be durable before anybody is sent the message.
    #[inline]
    pub fn onward_after(&self) -> CommitSequence {
        CommitSequence(self.0.header.header.onward_after.load(Ordering::Relaxed))
    }

    /// Has everybody wait for `commit`. Before anybody else has the message.
    pub fn set_onward_after(&self, commit: CommitSequence) {
        self.0.header.header.onward_after.store(commit.0, Ordering::Relaxed);
    }

    /// Bytes that this message holds, for bounds on queues.
    #[inline]
    pub fn size(&self) -> usize {
        self.0.slice.len() + OVERHEAD
    }

    /// The parts, for making an altered copy.
    pub fn parts(&self) -> NewMessage<'_> {
        NewMessage {
            topic: self.topic(),
            forwarded_properties: self.forwarded_properties(),
            payload: self.payload(),
            qos: self.qos(),
            retain: self.retain(),
            expires_at: self.expires_at(),
            publisher: self.publisher(),
        }
    }
}

impl fmt::Debug for Message {
    /// Without the payload, which logs must not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic().as_str())
            .field("payload_length", &self.payload().len())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .finish()
    }
}

/// Copies `pieces` behind `header` into one reference-counted block.
#[allow(unsafe_code)]
fn one_allocation(header: Header, pieces: [&[u8]; 3]) -> ThinArc<Header, u8> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    let header = triomphe::HeaderWithLength::new(header, length);
    let mut block: UniqueArc<triomphe::HeaderSlice<_, [MaybeUninit<u8>]>> =
        UniqueArc::from_header_and_uninit_slice(header, length);
    let mut rest = &mut block.slice[..];
    for piece in pieces {
        let (place, behind) = rest.split_at_mut(piece.len());
        place.write_copy_of_slice(piece);
        rest = behind;
    }
    // SAFETY: the slice is as long as the pieces together, and each was written in turn.
    Arc::into_thin(unsafe { block.assume_init_slice_with_header() }.shareable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gives_back_what_it_was_made_from() {
        let message = Message::new(NewMessage {
            topic: TopicName::new("a/b").unwrap(),
            forwarded_properties: &[1, 1],
            payload: b"hello",
            qos: Qos::AtLeastOnce,
            retain: true,
            expires_at: None,
            publisher: 7,
        });
        let copy = Message::new(message.clone().parts());
        assert_eq!(copy.topic().as_str(), "a/b");
        assert_eq!(copy.payload(), b"hello");
        assert_eq!(copy.properties().unwrap().payload_format_indicator, Some(true));
        assert_eq!((copy.qos(), copy.retain(), copy.publisher()), (Qos::AtLeastOnce, true, 7));
    }
}
