//! What the client sends: read into the worker's buffer, cut into packets, handled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hookmq_codec::{PacketType, decode_within, frame, needed};
use tokio::io::ReadBuf;

use super::Driver;
use crate::clock;
use crate::connection::Stream;
use crate::connection::buffers::{READ_SIZE, with_read_buffer};
use crate::connection::ending::Ending;

impl<S: Stream> Driver<S> {
    /// Reads once, `most` bytes at the most, and handles what is whole.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<(), Ending>> {
        if let Some(length) = needed(&self.partial).filter(|&length| length > READ_SIZE) {
            return self.poll_read_large(context, length - self.partial.len());
        }
        with_read_buffer(|buffer| {
            let held = self.partial.len();
            buffer[..held].copy_from_slice(&self.partial);
            let end = buffer.len().min(held + most);
            let mut room = ReadBuf::new(&mut buffer[held..end]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))
                .map_err(Ending::lost)?;
            let read = room.filled().len();
            if read == 0 {
                return Poll::Ready(Err(Ending::Lost("closed by the client".into())));
            }
            self.traffic.bytes_received += read as u32;
            let used = self.take_in(&buffer[..held + read])?;
            self.partial.clear();
            self.partial.extend_from_slice(&buffer[used..held + read]);
            if self.partial.is_empty() {
                self.partial = Vec::new();
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Reads a packet that does not fit the shared buffer. Its own buffer grows with what has come, not
    /// with what was announced.
    fn poll_read_large(
        &mut self,
        context: &mut Context<'_>,
        missing: usize,
    ) -> Poll<Result<(), Ending>> {
        let polled = with_read_buffer(|buffer| {
            let length = missing.min(buffer.len());
            let mut room = ReadBuf::new(&mut buffer[..length]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
            self.partial.extend_from_slice(room.filled());
            Poll::Ready(std::io::Result::Ok(room.filled().len()))
        });
        let read = ready!(polled).map_err(Ending::lost)?;
        if read == 0 {
            return Poll::Ready(Err(Ending::Lost("closed by the client".into())));
        }
        self.traffic.bytes_received += read as u32;
        if read == missing {
            let whole = std::mem::take(&mut self.partial);
            if self.take_in(&whole)? == 0 {
                self.partial = whole;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Handles the packets that are whole, as far as the tenant's quota allows; gives the length of
    /// these.
    pub(super) fn take_in(&mut self, bytes: &[u8]) -> Result<usize, Ending> {
        let now = clock::now();
        let given = self.tenant.meter.incoming.allowance(|| now);
        let mut left = given;
        let mut used = 0;
        self.holds_packets = false;
        while let Some(packet) = frame(&bytes[used..], self.broker.limits.maximum_packet_size)? {
            if left.is_spent() {
                self.holds_packets = true;
                break;
            }
            let is_publish = bytes[used] >> 4 == PacketType::Publish as u8;
            left.spend(i32::from(is_publish), packet.length);
            used += packet.length;
            let packet = decode_within(packet, self.terms.version, self.broker.limits.decode)?;
            self.traffic.packets_received += 1;
            self.handle_packet(packet, now)?;
        }
        self.tenant.meter.incoming.settle(given, left, || now);
        if used > 0 {
            self.last_packet = now;
        }
        Ok(used)
    }
}
