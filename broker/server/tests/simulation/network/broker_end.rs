//! What the broker reads and writes in place of a socket.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::{BrokerEnd, Towards, wake};
use crate::history::What;

impl AsyncRead for BrokerEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        loop {
            let link = self.link.clone();
            let mut state = link.state.lock();
            let piece = state.weather.piece.min(into.remaining());
            let piece = state.random.random_range(1..=piece.max(1));
            let at = match state.to_broker.chunks.front() {
                Some((at, _)) => *at,
                None if state.is_cut => {
                    return Poll::Ready(match state.random.random() {
                        true => Ok(()),
                        false => Err(Error::from(ErrorKind::ConnectionReset)),
                    });
                }
                None => {
                    state.to_broker.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            };
            if at <= Instant::now() {
                let bytes = state.to_broker.take(piece).unwrap_or_default();
                into.put_slice(&bytes);
                // Behind its own last word the broker reads what it throws away.
                if !state.is_shut {
                    state.tap(link.number, Towards::Broker, &bytes);
                }
                return Poll::Ready(Ok(()));
            }
            state.to_broker.reader = Some(context.waker().clone());
            drop(state);
            let sleep = self.sleep.insert(Box::pin(sleep_until(at)));
            std::task::ready!(sleep.as_mut().poll(context));
        }
    }
}

impl AsyncWrite for BrokerEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let mut state = self.link.state.lock();
        if state.is_cut || state.to_client.is_closed {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        let room = state.weather.capacity.saturating_sub(state.to_client.queued);
        if room == 0 {
            state.to_client.writer = Some(context.waker().clone());
            state.history.note(self.link.number, What::Blocked);
            return Poll::Pending;
        }
        let most = state.weather.piece.min(room).min(bytes.len());
        let most = state.random.random_range(1..=most.max(1)).min(bytes.len());
        let taken = state.put(Towards::Client, &bytes[..most]);
        state.tap(self.link.number, Towards::Client, &bytes[..taken]);
        if taken < most {
            state.cut(self.link.number);
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.link.state.lock();
        (state.is_shut, state.to_client.is_closed) = (true, true);
        wake(&mut state.to_client.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for BrokerEnd {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        state.is_dropped = true;
        state.history.note(self.link.number, What::Dropped);
        state.to_broker.clear();
        state.close();
    }
}
