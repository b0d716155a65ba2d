//! Lets publishers publish and subscribers receive, all on one thread, and measures it.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookmq_codec::{Packet, decode, frame};

use super::client::{Publisher, Subscriber};
use super::ledger::Ledger;
use super::poll::{Interest, Poll};
use super::wire::{LONGEST_PACKET, SCRATCH, VERSION, Wire};
use super::{Faults, Histogram, Load, Pace, SetUp, Traffic};
use crate::machine::{self, Processor};

/// How long a wait for sockets takes at most.
const TICK: Duration = Duration::from_millis(5);
/// After the end: how long stragglers are waited for since the last one, and altogether.
const IDLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(15);

struct Engine<'a> {
    load: &'a Load,
    poll: Poll,
    /// Keys of sockets: those of subscribers, then those of publishers.
    ready: Vec<usize>,
    subscribers: Vec<Subscriber>,
    publishers: Vec<Publisher>,
    ledgers: Vec<Ledger>,
    clock: Instant,
    /// At a rate: how many messages have been sent by all together.
    sent: u64,
    measuring: bool,
    received: u64,
    latencies: Histogram,
    /// When a message or an acknowledgement last came, in nanoseconds.
    progress: u64,
    disconnected: u64,
    first_error: Option<String>,
}

/// Runs the load; `broker` is the process that carries it.
pub fn run(
    load: &Load,
    broker: u32,
    set_up: SetUp,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
) -> Result<Traffic> {
    let mut engine = Engine::new(load, publishers, subscribers)?;
    let mut scratch = vec![0; SCRATCH];
    engine.run_until(load.warm_up, &mut scratch)?;

    engine.measuring = true;
    let (began, before) = (engine.clock.elapsed(), Processor::now(broker)?);
    engine.run_until(load.warm_up + load.measured, &mut scratch)?;
    let (measured, after) = (engine.clock.elapsed() - began, Processor::now(broker)?);
    let resident = machine::resident(broker)?;
    engine.measuring = false;

    engine.drain(&mut scratch)?;
    engine.say_goodbye();
    Ok(Traffic {
        set_up,
        measured,
        received: engine.received,
        processor: after.since(&before),
        resident,
        faults: engine.faults(),
        latencies: engine.latencies,
    })
}

impl<'a> Engine<'a> {
    fn new(
        load: &'a Load,
        mut publishers: Vec<Publisher>,
        mut subscribers: Vec<Subscriber>,
    ) -> Result<Self> {
        let poll = Poll::new().context("epoll")?;
        let wires = subscribers.iter_mut().map(|it| &mut it.wire);
        let wires = wires.chain(publishers.iter_mut().map(|it| &mut it.wire));
        for (key, wire) in wires.enumerate() {
            wire.stop_waiting()?;
            poll.add(wire.socket(), key)?;
        }
        let mut ledgers = Vec::new();
        ledgers.resize_with(load.plan.ledgers(), Ledger::default);
        Ok(Self {
            load,
            poll,
            ready: Vec::new(),
            subscribers,
            publishers,
            ledgers,
            clock: Instant::now(),
            sent: 0,
            measuring: false,
            received: 0,
            latencies: Histogram::new(),
            progress: 0,
            disconnected: 0,
            first_error: None,
        })
    }

    fn run_until(&mut self, end: Duration, scratch: &mut [u8]) -> Result<()> {
        while self.clock.elapsed() < end {
            match self.load.pace {
                Pace::Windows { .. } => self.publish_within_windows(),
                Pace::Rate(rate) => self.publish_what_is_due(rate)?,
            }
            self.serve(scratch)?;
        }
        Ok(())
    }

    /// Waits for what is still on its way.
    fn drain(&mut self, scratch: &mut [u8]) -> Result<()> {
        let end = self.clock.elapsed();
        while self.is_something_due() {
            let idle = Duration::from_nanos(self.now().saturating_sub(self.progress));
            if idle > IDLE || self.clock.elapsed() > end + PATIENCE {
                break;
            }
            self.serve(scratch)?;
        }
        Ok(())
    }

    fn is_something_due(&self) -> bool {
        let copies = self.load.plan.copies();
        let is_due =
            |it: &Publisher| it.unacknowledged.count() > 0 || it.delivered < it.sent * copies;
        self.publishers.iter().any(is_due)
    }

    fn publish_within_windows(&mut self) {
        let now = self.now();
        for place in 0..self.publishers.len() {
            if self.publishers[place].wire.is_lost {
                continue;
            }
            let published = self.publish_within_window(place, now);
            self.end_where_failed(self.subscribers.len() + place, published);
        }
    }

    fn publish_within_window(&mut self, place: usize, now: u64) -> io::Result<()> {
        let plan = &self.load.plan;
        let publisher = &mut self.publishers[place];
        let allowed = publisher.allowed(now, plan.copies());
        for _ in 0..allowed {
            if publisher.is_full() {
                break;
            }
            if !plan.has_fixed_topics() {
                publisher.topic_of_next(plan);
            }
            publisher.publish(now)?;
        }
        Ok(())
    }

    /// Publishers take turns. A message that cannot leave yet is late, not left out.
    fn publish_what_is_due(&mut self, rate: f64) -> Result<()> {
        let due_at = |number: u64| (number as f64 / rate * 1e9) as u64;
        let now = self.now();
        let mut due = due_at(self.sent);
        while due <= now {
            let place = self.sent as usize % self.publishers.len();
            let publisher = &mut self.publishers[place];
            if !publisher.wire.is_lost {
                if publisher.is_full() {
                    return Ok(());
                }
                let published = publisher.publish(due);
                self.end_where_failed(self.subscribers.len() + place, published);
            }
            self.sent += 1;
            due = due_at(self.sent);
        }
        self.poll.set_alarm(Duration::from_nanos(due.saturating_sub(self.now())))?;
        Ok(())
    }

    /// Waits for sockets, and does what they ask for.
    fn serve(&mut self, scratch: &mut [u8]) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(TICK, &mut ready)?;
        for key in ready.iter().copied() {
            let served = match key.checked_sub(self.subscribers.len()) {
                None => self.serve_subscriber(key, scratch),
                Some(place) => serve_publisher(&mut self.publishers[place], scratch),
            };
            if key >= self.subscribers.len() && matches!(served, Ok(true)) {
                self.progress = self.now();
            }
            self.end_where_failed(key, served.map(drop));
        }
        self.ready = ready;
        Ok(())
    }

    /// Whether something has come.
    fn serve_subscriber(&mut self, key: usize, scratch: &mut [u8]) -> io::Result<bool> {
        let now = self.now();
        let subscriber = &mut self.subscribers[key];
        let Some(mut bytes) = subscriber.wire.read(scratch)? else { return Ok(false) };
        while let Some((packet, length)) = next_packet(bytes)? {
            bytes = &bytes[length..];
            let Some(publish) = subscriber.handle(&packet)? else { continue };
            let stamp = self.load.form.read(publish.payload);
            let stamp = stamp.ok_or_else(|| io::Error::other("a payload without a stamp"))?;
            let publisher = self.publishers.get_mut(stamp.publisher as usize);
            let publisher = publisher.ok_or_else(|| io::Error::other("an unknown publisher"))?;
            let ledger = self.load.plan.ledger(stamp.publisher as usize, subscriber.number);
            if self.ledgers[ledger].note(stamp.sequence) {
                publisher.delivered += 1;
                if self.measuring {
                    self.received += 1;
                    self.latencies.record(now.saturating_sub(stamp.due));
                }
            }
        }
        subscriber.wire.keep(bytes);
        self.progress = now;
        Ok(true)
    }

    /// Sends what the client has to say, and gives it up where something is wrong.
    fn end_where_failed(&mut self, key: usize, done: io::Result<()>) {
        let wire = match key.checked_sub(self.subscribers.len()) {
            None => &mut self.subscribers[key].wire,
            Some(place) => &mut self.publishers[place].wire,
        };
        let done = done.and_then(|()| flush(&self.poll, wire, key));
        if let Err(error) = done
            && !wire.is_lost
        {
            wire.is_lost = true;
            self.disconnected += 1;
            self.first_error.get_or_insert(error.to_string());
            // It is gone from the set with its socket otherwise.
            let _ = self.poll.remove(wire.socket());
        }
    }

    fn say_goodbye(&mut self) {
        let wires = self.subscribers.iter_mut().map(|it| &mut it.wire);
        for wire in wires.chain(self.publishers.iter_mut().map(|it| &mut it.wire)) {
            // Who does not listen any more is left without.
            let _ = wire.say_goodbye();
        }
    }

    fn faults(&self) -> Faults {
        let plan = &self.load.plan;
        let due: u64 = self.publishers.iter().map(|it| it.sent).sum::<u64>() * plan.copies();
        let received: u64 = self.ledgers.iter().map(|it| it.received).sum();
        Faults {
            lost: due.saturating_sub(received),
            duplicates: self.ledgers.iter().map(|it| it.duplicates).sum(),
            // Where messages of one publisher go to several subscribers, they have no order.
            disordered: match plan.has_fixed_topics() {
                true => self.ledgers.iter().map(|it| it.disordered).sum(),
                false => 0,
            },
            unacknowledged: self.publishers.iter().map(|it| it.unacknowledged.count() as u64).sum(),
            stalls: self.publishers.iter().map(|it| it.stalls).sum(),
            disconnected: self.disconnected,
            first_error: self.first_error.clone(),
        }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

fn serve_publisher(publisher: &mut Publisher, scratch: &mut [u8]) -> io::Result<bool> {
    let Some(mut bytes) = publisher.wire.read(scratch)? else { return Ok(false) };
    while let Some((packet, length)) = next_packet(bytes)? {
        bytes = &bytes[length..];
        publisher.handle(&packet)?;
    }
    publisher.wire.keep(bytes);
    Ok(true)
}

#[inline]
fn next_packet(bytes: &[u8]) -> io::Result<Option<(Packet<'_>, usize)>> {
    let Some(frame) = frame(bytes, LONGEST_PACKET).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let packet = decode(frame, VERSION).map_err(io::Error::other)?;
    Ok(Some((packet, frame.length)))
}

/// Sends, and has the poll say when the socket takes more.
fn flush(poll: &Poll, wire: &mut Wire, key: usize) -> io::Result<()> {
    wire.flush()?;
    let wanted = match wire.waiting() {
        0 => Interest::Read,
        _ => Interest::ReadAndWrite,
    };
    if wanted != wire.interest {
        poll.change(wire.socket(), key, wanted)?;
        wire.interest = wanted;
    }
    Ok(())
}
