//! A connection without a socket: bounded, late, in pieces, and cut at any byte.

mod broker_end;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use hookmq_codec::{ProtocolVersion, decode, decode_connect, frame};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::history::{Coming, History, What, Wire};

/// How a network behaves.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Milliseconds that bytes take at most.
    pub latency: u64,
    /// Bytes of one read or write at most.
    pub piece: usize,
    /// Bytes on their way to a client at most.
    pub capacity: usize,
}

/// One connection, as its client and the network have it.
pub struct Link {
    pub number: usize,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    to_broker: Direction,
    to_client: Direction,
    is_cut: bool,
    is_dropped: bool,
    /// The broker has written its last.
    is_shut: bool,
    random: StdRng,
    history: History,
    version: ProtocolVersion,
    /// Number of the event at which the broker had all of CONNECT.
    serial: Option<usize>,
    coming: Option<Coming>,
    /// What the client has asked for, where the broker is to hear something else.
    asked: Option<(bool, u16)>,
}

#[derive(Default)]
struct Direction {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    queued: usize,
    /// Nothing comes behind what is queued.
    is_closed: bool,
    /// After so many bytes the connection is cut.
    cut_after: Option<usize>,
    latest: Option<Instant>,
    /// Nothing arrives before.
    held_until: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Bytes of a packet that is not whole yet, as the broker has them.
    tapped: Vec<u8>,
}

/// The end that the broker has in place of a socket.
pub struct BrokerEnd {
    link: Arc<Link>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Link {
    pub fn new(
        number: usize,
        version: ProtocolVersion,
        weather: Weather,
        history: History,
        seed: u64,
    ) -> Arc<Self> {
        let state = State {
            weather,
            to_broker: Direction::default(),
            to_client: Direction::default(),
            is_cut: false,
            is_dropped: false,
            is_shut: false,
            random: StdRng::seed_from_u64(seed),
            history,
            version,
            serial: None,
            coming: None,
            asked: None,
        };
        Arc::new(Self { number, state: Mutex::new(state) })
    }

    pub fn broker_end(self: &Arc<Self>) -> BrokerEnd {
        BrokerEnd { link: self.clone(), sleep: None }
    }

    /// Where this connection's CONNECT stands among those of all; none before the broker has it.
    pub fn serial(&self) -> Option<usize> {
        self.state.lock().serial
    }

    /// Has the history say that this is what the client has asked for: clean start, receive maximum.
    pub fn ask(&self, is_clean: bool, receive_maximum: u16) {
        self.state.lock().asked = Some((is_clean, receive_maximum));
    }

    /// What the client has said in CONNECT, once the broker has it.
    pub fn coming(&self) -> Option<Coming> {
        self.state.lock().coming.clone()
    }

    pub fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.is_cut || state.is_dropped
    }

    /// Whether the broker has let go of it: it reads nothing more.
    pub fn is_dropped(&self) -> bool {
        self.state.lock().is_dropped
    }

    /// Sends what the client writes; nobody hears it when the connection is over.
    pub fn send(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.is_cut || state.is_dropped {
            return;
        }
        let taken = state.put(Towards::Broker, bytes);
        if taken < bytes.len() {
            state.cut(self.number);
        }
    }

    /// What arrives at the client; none when nothing more will.
    pub async fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let due = std::future::poll_fn(|context| {
                let mut state = self.state.lock();
                let now = Instant::now();
                let direction = &mut state.to_client;
                match direction.chunks.front() {
                    Some((at, _)) if *at <= now => Poll::Ready(Ok(direction.take(usize::MAX))),
                    Some((at, _)) => Poll::Ready(Err(*at)),
                    None if direction.is_closed => Poll::Ready(Ok(None)),
                    None => {
                        direction.reader = Some(context.waker().clone());
                        Poll::Pending
                    }
                }
            });
            match due.await {
                Ok(bytes) => return bytes,
                Err(at) => sleep_until(at).await,
            }
        }
    }

    /// The connection breaks now.
    pub fn cut(&self) {
        self.state.lock().cut(self.number);
    }

    /// The connection breaks when so many more bytes have been sent.
    pub fn cut_after(&self, towards: Towards, bytes: usize) {
        self.state.lock().direction(towards).cut_after = Some(bytes);
    }

    /// Nothing arrives on either side for a while.
    pub fn hold(&self, time: Duration) {
        let mut state = self.state.lock();
        let until = Instant::now() + time;
        state.to_broker.held_until = Some(until);
        state.to_client.held_until = Some(until);
    }

    /// The client closes its socket: what it has sent arrives.
    pub fn hang_up(&self) {
        let mut state = self.state.lock();
        if state.is_cut {
            return;
        }
        state.history.note(self.number, What::Cut);
        state.is_cut = true;
        state.to_client.clear();
        state.close();
    }

    /// From now on bytes arrive at once.
    pub fn calm_down(&self) {
        let mut state = self.state.lock();
        state.weather = Weather { latency: 5, ..state.weather };
        for direction in [Towards::Broker, Towards::Client] {
            state.direction(direction).cut_after = None;
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Towards {
    Broker,
    Client,
}

impl State {
    fn direction(&mut self, towards: Towards) -> &mut Direction {
        match towards {
            Towards::Broker => &mut self.to_broker,
            Towards::Client => &mut self.to_client,
        }
    }

    /// Puts what fits on its way; gives how much. Less than there is where the connection breaks here.
    fn put(&mut self, towards: Towards, bytes: &[u8]) -> usize {
        let latency = self.random.random_range(0..=self.weather.latency);
        let direction = self.direction(towards);
        let taken = direction.cut_after.map_or(bytes.len(), |after| after.min(bytes.len()));
        if let Some(after) = &mut direction.cut_after {
            *after -= taken;
        }
        let at = Instant::now() + Duration::from_millis(latency);
        let at = at.max(direction.latest.unwrap_or(at)).max(direction.held_until.unwrap_or(at));
        direction.latest = Some(at);
        direction.queued += taken;
        if taken > 0 {
            direction.chunks.push_back((at, bytes[..taken].to_vec()));
        }
        wake(&mut direction.reader);
        taken
    }

    /// What was on its way arrives or does not, as it happens.
    fn cut(&mut self, number: usize) {
        if self.is_cut {
            return;
        }
        self.history.note(number, What::Cut);
        self.is_cut = true;
        for towards in [Towards::Broker, Towards::Client] {
            if self.random.random() {
                self.direction(towards).clear();
            }
        }
        self.close();
    }

    fn close(&mut self) {
        for direction in [&mut self.to_broker, &mut self.to_client] {
            direction.is_closed = true;
            wake(&mut direction.reader);
            wake(&mut direction.writer);
        }
    }

    /// Notes the packets that are whole with `bytes`.
    fn tap(&mut self, number: usize, towards: Towards, bytes: &[u8]) {
        let mut tapped = std::mem::take(&mut self.direction(towards).tapped);
        tapped.extend_from_slice(bytes);
        while let Some(found) = frame(&tapped, u32::MAX).expect("whole packets on the wire") {
            let length = found.length;
            let is_connect = found.first_byte >> 4 == 1;
            let packet = match is_connect {
                true => decode_connect(found).map(|it| hookmq_codec::Packet::Connect(Box::new(it))),
                false => decode(found, self.version),
            };
            let mut wire = Wire::of(&packet.expect("packets that can be read"));
            if let (Wire::Connect(coming), Some(asked)) = (&mut wire, self.asked) {
                (coming.clean, coming.receive_maximum) = asked;
            }
            let coming = match &wire {
                Wire::Connect(coming) => Some(coming.clone()),
                _ => None,
            };
            let what = match towards {
                Towards::Broker => What::Read(wire),
                Towards::Client => What::Written(wire),
            };
            let event = self.history.note(number, what);
            if is_connect {
                (self.serial, self.coming) = (Some(event), coming);
            }
            tapped.drain(..length);
        }
        self.direction(towards).tapped = tapped;
    }
}

impl Direction {
    fn take(&mut self, most: usize) -> Option<Vec<u8>> {
        let (at, mut bytes) = self.chunks.pop_front()?;
        if bytes.len() > most {
            self.chunks.push_front((at, bytes.split_off(most)));
        }
        self.queued -= bytes.len();
        wake(&mut self.writer);
        Some(bytes)
    }

    fn clear(&mut self) {
        self.chunks.clear();
        self.queued = 0;
    }
}

fn wake(waker: &mut Option<Waker>) {
    waker.take().into_iter().for_each(Waker::wake);
}
