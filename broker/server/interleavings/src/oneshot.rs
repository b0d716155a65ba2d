//! A channel for one value, with what the broker uses of tokio's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::sync::Mutex;

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
    has_sender: bool,
    is_closed: bool,
}

type Channel<T> = Arc<Mutex<State<T>>>;

#[derive(Debug)]
pub struct Sender<T>(Option<Channel<T>>);

#[derive(Debug)]
pub struct Receiver<T>(Channel<T>);

#[derive(Debug, PartialEq, Eq)]
pub struct RecvError;

pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { value: None, waker: None, has_sender: true, is_closed: false };
    let channel = Arc::new(Mutex::new(state));
    (Sender(Some(channel.clone())), Receiver(channel))
}

impl<T> Sender<T> {
    pub fn send(mut self, value: T) -> Result<(), T> {
        let Some(channel) = self.0.take() else { return Err(value) };
        let mut state = channel.lock();
        if state.is_closed {
            return Err(value);
        }
        (state.value, state.has_sender) = (Some(value), false);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // A model that has failed takes no more steps.
        if std::thread::panicking() {
            return;
        }
        let Some(channel) = self.0.take() else { return };
        let mut state = channel.lock();
        state.has_sender = false;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<T> Receiver<T> {
    /// Whoever sends from now on gets the value back.
    pub fn close(&mut self) {
        self.0.lock().is_closed = true;
    }

    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.0.lock().value.take().ok_or(RecvError)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.value.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None if state.has_sender => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(Err(RecvError)),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}
