//! What the fuzz targets try here: bytes of strangers before CONNECT, in reads of any length.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::proxy::read_header;
use super::websocket::{read_frames, upgrade as upgrade_stream};
use crate::config::WebSocketSettings;

/// The largest packet of the listener.
const MAXIMUM: u32 = 2000;

/// A peer that has sent all that it will, and of whom each read gets a little.
struct Peer {
    rest: Vec<u8>,
    /// Lengths of the reads, in turn.
    pieces: Vec<u8>,
    reads: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

/// Frames after a first byte that says how many of the others are lengths of reads.
///
/// # Panics
/// Where it makes a difference how the bytes come.
pub fn websocket(bytes: &[u8]) {
    let Some((pieces, frames)) = split(bytes) else { return };
    let whole = read_frames(frames, &[frames.len().max(1)], MAXIMUM);
    let lengths: Vec<usize> = pieces.iter().map(|it| usize::from(*it).max(1)).collect();
    for lengths in [&lengths[..], &[1]] {
        assert_eq!(read_frames(frames, lengths, MAXIMUM), whole);
    }
}

/// A request after a first byte that says how many of the others are lengths of reads.
///
/// # Panics
/// Where it makes a difference how the bytes come.
pub fn upgrade(bytes: &[u8]) {
    let Some((pieces, request)) = split(bytes) else { return };
    // What comes behind a request is refused if it comes with it.
    let end = request.windows(4).position(|it| it == b"\r\n\r\n").map(|it| it + 4);
    let request = &request[..end.unwrap_or(request.len()).min(8 * 1024)];
    let settings = WebSocketSettings {
        path: Some("/mqtt".into()),
        origins: vec!["https://a.example".to_owned()],
    };
    let answered = |pieces: &[u8]| {
        let peer = Peer::new(request, pieces);
        let written = peer.written.clone();
        let outcome = at_once(upgrade_stream(Box::new(peer), &settings, MAXIMUM));
        let written = written.lock().expect("nobody panics with it").clone();
        (outcome.is_ok(), written)
    };
    let whole = answered(&[]);
    assert_eq!(whole.0, whole.1.starts_with(b"HTTP/1.1 101 "), "let in, or refused");
    for pieces in [pieces, &[1]] {
        assert_eq!(answered(pieces), whole);
    }
}

/// A header after a first byte that says how many of the others are lengths of reads.
///
/// # Panics
/// Where it makes a difference how the bytes come, or the header takes what is behind it.
pub fn proxy(bytes: &[u8]) {
    let Some((pieces, header)) = split(bytes) else { return };
    let read = |pieces: &[u8], bytes: &[u8]| {
        let mut peer = Peer::new(bytes, pieces);
        let header = at_once(read_header(&mut peer)).ok();
        (header, peer.rest)
    };
    let (whole, rest) = read(&[], header);
    for pieces in [pieces, &[1]] {
        let (other, left) = read(pieces, header);
        assert_eq!(other, whole);
        assert!(whole.is_none() || left == rest, "{left:?} is left instead of {rest:?}");
    }
    let Some(said) = whole else { return };
    let taken = &header[..header.len() - rest.len()];
    assert_eq!(read(&[], taken), (Some(said.clone()), Vec::new()), "it ends where it ends");
    if let Ok(Some(certificate)) = said.certificate("edge") {
        assert!(certificate.vouched_by_proxy);
    }
}

/// The lengths of reads, and what is read.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&count, rest) = bytes.split_first()?;
    let (pieces, rest) = rest.split_at_checked(usize::from(count % 16))?;
    (!pieces.is_empty()).then_some((pieces, rest))
}

/// What comes of a future that need not wait, as its peer never does.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for a peer that has said all"),
    }
}

impl Peer {
    /// Without `pieces`, each read gets all that it has room for.
    fn new(bytes: &[u8], pieces: &[u8]) -> Self {
        Self { rest: bytes.to_vec(), pieces: pieces.to_vec(), reads: 0, written: Arc::default() }
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let piece = this.pieces.get(this.reads % this.pieces.len().max(1));
        let length = piece.map_or(usize::MAX, |it| usize::from(*it).max(1));
        this.reads += 1;
        let length = length.min(this.rest.len()).min(buffer.remaining());
        buffer.put_slice(&this.rest[..length]);
        this.rest.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a fuzz target is given them: two reads of 3 and 7 bytes in turn.
    fn in_pieces(bytes: &[u8]) -> Vec<u8> {
        [&[2, 3, 7], bytes].concat()
    }

    #[test]
    fn it_makes_no_difference_how_bytes_come() {
        let mask = [1, 2, 3, 4];
        let frames = [&[0x02, 0x83][..], &mask, b"abc", &[0x89, 0x80], &mask, &[0x80, 0x80], &mask];
        let frames = frames.concat();
        for bytes in [&frames[..], &frames[..11], &[&frames[..], &[0x81, 0x80]].concat(), b""] {
            websocket(&in_pieces(bytes));
        }
        let request = "GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\nmore";
        for bytes in [request, &request[..50], "POST / HTTP/1.1\r\n\r\n", ""] {
            upgrade(&in_pieces(bytes.as_bytes()));
        }
        for bytes in [
            &b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nmore"[..],
            b"PROXY TCP4 1.2.3.4 5.6.7.8 9",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02\x20\0\x01\0x",
        ] {
            proxy(&in_pieces(bytes));
        }
    }
}
