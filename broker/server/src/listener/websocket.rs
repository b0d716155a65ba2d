//! MQTT over WebSocket: a stream of bytes whose frames are put on and taken off on the way.

mod frames;
mod upgrade;

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frames::{
    CloseCode, Demand, FrameReader, Violation, write_binary_header, write_close, write_pong,
};
pub use self::upgrade::{UpgradeError, upgrade};
use crate::connection::Stream;

/// The byte stream within a WebSocket. A write that was begun must be continued with at least what it
/// was offered, as its frame has been announced.
pub struct WebSocket {
    inner: Box<dyn Stream>,
    reader: FrameReader,
    /// Headers and control frames that go before the payload.
    ahead: Vec<u8>,
    /// How much of `ahead` has been written.
    written: usize,
    /// Payload that the present frame still lacks.
    announced: usize,
    /// The pong that is to be sent as soon as a frame ends.
    pong: Option<Vec<u8>>,
    /// A pong or close frame that TLS may still hold.
    unflushed: bool,
    closing: Closing,
    /// Why the client is not listened to any more.
    violation: Option<Violation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Nothing more is read; a close frame is to be sent.
    Due(CloseCode),
    Sent,
}

/// Bytes of one outgoing frame, so that a client can begin before a large packet has come.
const LONGEST_FRAME: usize = 64 * 1024;

impl WebSocket {
    /// `maximum_packet_size` bounds what a message may hold, too.
    fn new(inner: Box<dyn Stream>, maximum_packet_size: u32) -> Self {
        Self {
            inner,
            reader: FrameReader::new(maximum_packet_size),
            ahead: Vec::new(),
            written: 0,
            announced: 0,
            pong: None,
            unflushed: false,
            closing: Closing::No,
            violation: None,
        }
    }

    /// Queues what may stand between two frames, one pong at a time: whoever sends pings and reads no
    /// pongs gets the last one only.
    fn queue_control_frames(&mut self) {
        if self.announced > 0 || !self.ahead.is_empty() {
            return;
        }
        if let Some(payload) = self.pong.take() {
            write_pong(&payload, &mut self.ahead);
        }
        if let Closing::Due(code) = self.closing {
            write_close(code, &mut self.ahead);
            self.closing = Closing::Sent;
        }
    }

    /// Writes what is queued between two frames; behind a half-written one it goes with the next write.
    fn poll_write_control_frames(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.announced == 0 {
            self.queue_control_frames();
            if self.ahead.is_empty() {
                break;
            }
            let rest = &self.ahead[self.written..];
            let wrote = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            self.take_written(wrote)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Counts what was written; gives how much of it was payload.
    fn take_written(&mut self, wrote: usize) -> io::Result<usize> {
        if wrote == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        let ahead = wrote.min(self.ahead.len() - self.written);
        self.written += ahead;
        if self.written == self.ahead.len() {
            self.ahead = Vec::new();
            self.written = 0;
        }
        self.announced -= wrote - ahead;
        Ok(wrote - ahead)
    }

    /// Sends pongs and close frames while there is nothing else to write; never holds up reading.
    fn answer(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.queue_control_frames();
        if self.announced == 0 && !self.ahead.is_empty() {
            self.unflushed |= self.poll_write_control_frames(context)?.is_ready();
        }
        if self.unflushed {
            self.unflushed = Pin::new(&mut self.inner).poll_flush(context)?.is_pending();
        }
        Ok(())
    }

    fn close(&mut self, code: CloseCode) {
        if self.closing == Closing::No {
            self.closing = Closing::Due(code);
        }
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.answer(context)?;
            if let Some(violation) = this.violation {
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, violation)));
            }
            if this.closing != Closing::No {
                return Poll::Ready(Ok(()));
            }
            // Frames are at least as long as what they carry, so they are decoded where they are.
            let mut room = ReadBuf::new(buffer.initialize_unfilled());
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let (length, demand) = this.reader.read(room.filled_mut());
            match demand {
                None => {}
                Some(Demand::Pong(payload)) => this.pong = Some(payload),
                Some(Demand::Close) => this.close(CloseCode::Normal),
                Some(Demand::Refuse(violation)) => {
                    this.violation = Some(violation);
                    this.close(violation.into());
                }
            }
            if length > 0 {
                buffer.advance(length);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.announced == 0 {
            if this.closing != Closing::No {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            this.queue_control_frames();
            this.announced = bytes.len().min(LONGEST_FRAME);
            write_binary_header(this.announced, &mut this.ahead);
        }
        let payload = &bytes[..this.announced.min(bytes.len())];
        loop {
            let parts = [IoSlice::new(&this.ahead[this.written..]), IoSlice::new(payload)];
            let wrote = ready!(Pin::new(&mut this.inner).poll_write_vectored(context, &parts))?;
            let wrote = this.take_written(wrote)?;
            if wrote > 0 {
                return Poll::Ready(Ok(wrote));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_control_frames(context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    /// Says goodbye without waiting for an answer.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close(CloseCode::Normal);
        ready!(Pin::new(&mut *this).poll_flush(context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

/// The payload in `frames`, which come in reads of these lengths, in turn; the pong that is due in the end,
/// or what has ended the connection.
#[cfg(any(test, fuzzing))]
pub(super) fn read_frames(
    frames: &[u8],
    lengths: &[usize],
    maximum: u32,
) -> (Vec<u8>, Option<Demand>) {
    let mut reader = FrameReader::new(maximum);
    let (mut payload, mut demanded, mut rest) = (Vec::new(), None, frames);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        rest = behind;
        let mut piece = piece.to_vec();
        let (length, demand) = reader.read(&mut piece);
        payload.extend_from_slice(&piece[..length]);
        demanded = demand.or(demanded);
        if matches!(demanded, Some(Demand::Close | Demand::Refuse(_))) {
            break;
        }
    }
    (payload, demanded)
}

#[cfg(test)]
mod tests;
