//! The task of a connected client: it owns socket, session and buffers, and takes turns.
//!
//! In one turn it reads what the socket has, handles every packet, takes what others have posted,
//! wakes each subscriber it touched once, and writes once.

mod authentication;
mod held;
mod input;
mod packets;
mod timer;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hookmq_codec::ProtocolVersion;
use hookmq_core::Delivery;
use hookmq_hooks::Client;
use hookmq_store::Durability;

pub use self::authentication::Authentication;
use self::held::Held;
pub(super) use self::packets::EXPLAINED;
use self::timer::{Timer, from_now};
use super::Stream;
use super::aliases::{IncomingAliases, OutgoingAliases};
use super::buffers::{READ_SIZE, lend_write_buffer, return_write_buffer};
use super::delivery::{DeliverySteps, Stopped};
use super::ending::Ending;
use super::receive::ReceiveCheck;
use super::stored::Owed;
use super::subscriptions::RetainedDue;
use super::worker;
use crate::broker::Broker;
use crate::broker::meter::Allowance;
use crate::broker::metrics::Traffic;
use crate::broker::publisher::{Publisher, Will};
use crate::broker::session_handle::Asked;
use crate::broker::sessions::OpenedSession;
use crate::broker::tenant::Tenant;
use crate::clock;

/// What the client asked for and was granted, as far as the driver needs to know.
#[derive(Debug, Clone)]
pub struct Terms {
    pub version: ProtocolVersion,
    /// After so much silence the client is lost; zero: never.
    pub silence: Duration,
    /// Bytes; larger packets are not sent.
    pub maximum_packet_size: u32,
    /// What the client asked for in CONNECT, in seconds; DISCONNECT may not raise it from zero.
    pub session_expiry_interval: u32,
    /// Aliases that the broker may use.
    pub topic_alias_maximum: u16,
    /// Whether acknowledgements may say more than a code `[MQTT-3.1.2-29]`.
    pub problem_information: bool,
    /// What acknowledgements stand for.
    pub durability: Durability,
}

/// What a connection begins with.
pub struct Start {
    pub terms: Terms,
    pub tenant: Arc<Tenant>,
    pub client: Arc<Client>,
    pub opened: OpenedSession,
    pub will: Option<Box<Will>>,
    pub authentication: Option<Box<Authentication>>,
    /// CONNACK, encoded.
    pub first_bytes: Vec<u8>,
}

pub struct Driver<S> {
    pub(super) broker: Arc<Broker>,
    pub(super) stream: S,
    pub(super) terms: Terms,
    pub(super) tenant: Arc<Tenant>,
    pub(super) client: Arc<Client>,
    pub(super) opened: OpenedSession,
    pub(super) will: Option<Box<Will>>,
    pub(super) publisher: Publisher,
    /// None before the first delivery that a step may want.
    pub(super) delivery_steps: Option<Box<DeliverySteps>>,
    /// None where deliveries are not authorized one by one, which is the rule.
    pub(super) receive: Option<Box<ReceiveCheck>>,
    /// None before the first.
    incoming_aliases: Option<Box<IncomingAliases>>,
    /// None where the client takes none.
    pub(super) aliases: Option<Box<OutgoingAliases>>,
    /// Deliveries that were taken from the mailbox and are not sent yet.
    pub(super) batch: VecDeque<Delivery>,
    /// What goes behind the batch. None where nothing is due, which is the rule.
    pub(super) retained_due: Option<Box<RetainedDue>>,
    /// Bytes of a packet that is not whole yet.
    partial: Vec<u8>,
    /// Whether `partial` begins with whole packets, which wait for the tenant's credit.
    holds_packets: bool,
    /// Whether this turn has been put off already.
    is_put_off: bool,
    /// None while there is credit, which is the rule.
    held: Option<Box<Held>>,
    /// What the tenant may be sent in this turn.
    pub(super) sendable: Allowance,
    pub(super) out: Vec<u8>,
    /// How much of `out` the socket has taken.
    pub(super) written: usize,
    /// What waits for the store. None for clients that have nothing to do with it.
    pub(super) owed: Option<Box<Owed>>,
    /// Whether something that the client has published was stored.
    pub(super) stores: bool,
    /// None where CONNECT has named no authentication method.
    authentication: Option<Box<Authentication>>,
    last_packet: Instant,
    /// Since when the socket has taken nothing of what it is offered.
    stalled: Option<Instant>,
    timer: Option<Timer>,
    /// When what connect steps have established is no longer valid. None for good, which is the rule.
    expires_at: Option<Box<Instant>>,
    /// What has passed in this turn.
    pub(super) traffic: Traffic<u32>,
}

/// Turns of one poll, after which other tasks of the worker get theirs.
const TURNS: usize = 16;

/// Messages below which a turn may be put off.
const FEW: usize = 16;

impl<S: Stream> Driver<S> {
    /// `behind` is what the client has sent after CONNECT.
    pub fn new(broker: Arc<Broker>, stream: S, start: Start, behind: Vec<u8>) -> Self {
        let Start { terms, tenant, client, opened, will, authentication, first_bytes } = start;
        let session = opened.handle.id;
        let expires_at = client.limits.expires_at.map(from_now).map(Box::new);
        Self {
            expires_at,
            publisher: Publisher::new(broker.clone(), tenant.clone(), client.clone(), session),
            aliases: OutgoingAliases::new(terms.topic_alias_maximum),
            broker,
            stream,
            terms,
            tenant,
            client,
            opened,
            will,
            delivery_steps: None,
            receive: None,
            incoming_aliases: None,
            batch: VecDeque::new(),
            retained_due: None,
            partial: behind,
            holds_packets: false,
            is_put_off: false,
            held: None,
            sendable: Allowance::UNBOUNDED,
            out: first_bytes,
            written: 0,
            owed: None,
            stores: false,
            authentication,
            last_packet: clock::now(),
            stalled: None,
            timer: None,
            traffic: Traffic::default(),
        }
    }

    /// Serves the client until it or the broker ends the connection, then leaves the session.
    ///
    /// Boxed throughout: a future that holds the driver by value holds it several times over.
    pub async fn run(mut self: Box<Self>) {
        let metrics = &self.broker.metrics;
        metrics.connections.add(1);
        metrics.connections_maximum.raise(metrics.connections.value());
        metrics.connections_accepted.add(1);
        // CONNECT and CONNACK.
        self.traffic.packets_received += 1;
        self.traffic.packets_sent += 1;
        let behind = std::mem::take(&mut self.partial);
        let begun = self.check_connack().and_then(|()| self.judge_again());
        let ending = match begun.and_then(|()| self.take_in(&behind)) {
            Ok(used) => {
                self.partial.extend_from_slice(&behind[used..]);
                drop(behind);
                poll_fn(|context| self.poll(context)).await
            }
            Err(ending) => ending,
        };
        self.publisher.flush();
        self.broker.metrics.connections.sub(1);
        Box::pin(self.finish(ending)).await;
    }

    /// Nothing is said to a client that does not take packets as large as its CONNACK `[MQTT-3.1.2-24]`.
    fn check_connack(&self) -> Result<(), Ending> {
        match self.out.len() > self.terms.maximum_packet_size as usize {
            true => Err(Ending::Lost("CONNACK exceeds the client's maximum packet size".into())),
            false => Ok(()),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        self.opened.handle.mailbox.register(context.waker());
        if self.lets_others_go_first(context) {
            return Poll::Pending;
        }
        if self.out.capacity() == 0 {
            self.out = lend_write_buffer();
        }
        self.held = None;
        let polled = self.poll_turns(context);
        if self.out.is_empty() {
            return_write_buffer(std::mem::take(&mut self.out));
        }
        self.opened.control.traffic.add_own(&self.traffic);
        self.broker.metrics.traffic.add(std::mem::take(&mut self.traffic));
        match polled {
            Poll::Ready(ending) => Poll::Ready(ending),
            Poll::Pending => self.poll_deadline(context),
        }
    }

    /// A write of few messages costs as much as one of many. On a busy worker the turn is put off once,
    /// behind all that is ready, which may have more for this client.
    fn lets_others_go_first(&mut self, context: &mut Context<'_>) -> bool {
        let was_put_off = std::mem::take(&mut self.is_put_off);
        if worker::is_busy() && !was_put_off {
            self.is_put_off = matches!(self.opened.handle.mailbox.queued(), 1..FEW);
        }
        if self.is_put_off {
            // Comes back when the worker has nothing else to do, and has looked at all sockets.
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
        self.is_put_off
    }

    /// Takes turns until there is nothing to do, or the socket takes no more.
    fn poll_turns(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..TURNS {
            while let Some(asked) = self.opened.control.asked() {
                match asked {
                    Asked::TakeOver => return Poll::Ready(Ending::TakenOver),
                    Asked::Disconnect(code) => return Poll::Ready(Ending::Told(code)),
                    Asked::Judge => {
                        if let Err(ending) = self.judge_again() {
                            return Poll::Ready(ending);
                        }
                    }
                    Asked::Tell => self.tell_subscriptions(),
                }
            }
            if self.authentication.is_some()
                && let Err(ending) = self.poll_renewal(context)
            {
                return Poll::Ready(ending);
            }
            // While the client does not read, it is not read from, and nothing is prepared for it.
            match self.poll_write(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(ending)) => return Poll::Ready(ending),
                Poll::Pending => {
                    self.pass_shares_on();
                    return Poll::Pending;
                }
            }
            let read = match self.holds_packets || self.tenant.meter.incoming.is_bounded() {
                _ if self.stores && self.awaits_room(context.waker()) => Poll::Pending,
                false => self.poll_read(context, READ_SIZE),
                true => self.poll_read_metered(context),
            };
            self.publisher.flush();
            let stopped = self.deliver();
            self.store([]);
            self.acknowledge(context.waker());
            if let Poll::Ready(Err(ending)) = read {
                return Poll::Ready(ending);
            }
            if let Err(ending) = ready!(self.poll_write(context)) {
                return Poll::Ready(ending);
            }
            let retained = stopped == Stopped::Empty && self.may_send_retained();
            if read.is_pending() && stopped != Stopped::OutputFull && !retained {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Offers the output to the socket until it has taken all of it, and what TLS made of it has left.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            let Poll::Ready(wrote) = Pin::new(&mut self.stream).poll_write(context, rest) else {
                return self.stall();
            };
            self.moved();
            match wrote.map_err(Ending::lost)? {
                0 => return Poll::Ready(Err(Ending::Lost("the socket takes nothing".into()))),
                wrote => {
                    self.written += wrote;
                    self.traffic.bytes_sent += wrote as u32;
                }
            }
        }
        if self.written > 0 {
            let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context) else {
                return self.stall();
            };
            flushed.map_err(Ending::lost)?;
            self.moved();
            self.out.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn stall<T>(&mut self) -> Poll<T> {
        self.stalled.get_or_insert_with(clock::now);
        Poll::Pending
    }

    /// The socket has taken something. While it took nothing the client was not read from either, so
    /// that its silence says nothing.
    fn moved(&mut self) {
        if self.stalled.take().is_some() {
            self.last_packet = clock::now();
        }
    }
}
