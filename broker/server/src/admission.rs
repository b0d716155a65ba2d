//! Who is let in: bounds on connections before they are clients.
//!
//! A connection passes them in this order: rate, open connections, its address (both behind a PROXY
//! header, which says it), those that are no clients yet, TLS handshakes, authentications. At a bound
//! it is closed and counted; nothing is written to the log above debug level.

mod addresses;
mod arrival;
mod backoff;
mod bucket;
mod flapping;
mod waiting_room;

use std::net::IpAddr;
use std::num::{NonZero, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::addresses::{AddressPlace, Addresses};
pub use self::arrival::{Arrival, Late};
use self::backoff::Backoff;
pub use self::backoff::{BackoffOptions, Claim, ClaimedName};
use self::bucket::Bucket;
use self::flapping::Flapping;
pub use self::flapping::FlappingOptions;
use self::waiting_room::WaitingRoom;
pub use self::waiting_room::{GivenAway, Seat};
use crate::broker::limits::Limits;
use crate::broker::memory::Memory;

/// What the listeners of one broker share.
pub struct Admission {
    rate: Option<(NonZeroU32, Mutex<Bucket>)>,
    /// One for each open socket.
    places: Arc<Semaphore>,
    /// How many places there are.
    everybody: u32,
    addresses: Arc<Addresses>,
    pending: Arc<WaitingRoom>,
    handshakes: Arc<WaitingRoom>,
    /// Of the handshakes, those that work at this moment.
    pub(crate) handshake_steps: Semaphore,
    authentications: Arc<Semaphore>,
    pub(crate) backoff: Backoff,
    pub(crate) flapping: Flapping,
    connect_timeout: Duration,
    memory: Arc<Memory>,
}

/// What is done about those who fail, or come, again and again.
#[derive(Debug, Clone, Default)]
pub struct AbuseOptions {
    pub backoff: BackoffOptions,
    pub flapping: FlappingOptions,
}

/// A bound that closes a connection before it is a client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    ConnectionRate,
    Connections,
    ConnectionsPerAddress,
    ConnectionRatePerAddress,
    PendingConnections,
    TlsHandshakes,
    PendingAuthentications,
    Memory,
}

/// An open socket's claim on its place; the place is free again when it is dropped.
pub struct Place {
    _connection: OwnedSemaphorePermit,
    address: Option<AddressPlace>,
}

/// A connection that has taken this part of `connect_timeout` makes room for another where too many
/// are pending. A younger one does not, so that those who come in a crowd finish.
const PATIENCE: u32 = 5;

impl Admission {
    pub fn new(limits: &Limits, memory: Arc<Memory>) -> Self {
        let now = Instant::now();
        let patience = limits.connect_timeout / PATIENCE;
        // As many as there are workers, where the operator has not set their number.
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let rate = limits.connection_rate.map(|rate| (rate, Mutex::new(Bucket::full(now))));
        Self {
            rate,
            places: Arc::new(Semaphore::new(limits.connections)),
            everybody: u32::try_from(limits.connections).unwrap_or(u32::MAX),
            addresses: Arc::new(Addresses::new(limits)),
            pending: Arc::new(WaitingRoom::new(limits.pending_connections, patience)),
            handshakes: Arc::new(WaitingRoom::new(limits.tls_handshakes, patience)),
            handshake_steps: Semaphore::new((threads / 2).max(1)),
            authentications: Arc::new(Semaphore::new(limits.pending_authentications)),
            backoff: Backoff::new(limits.abuse.backoff.clone()),
            flapping: Flapping::new(limits.abuse.flapping.clone()),
            connect_timeout: limits.connect_timeout,
            memory,
        }
    }

    /// A place for a socket that was accepted just now.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn enter(&self, now: Instant) -> Result<Place, Bound> {
        if self.memory.is_short() {
            return Err(Bound::Memory);
        }
        if let Some((rate, bucket)) = &self.rate
            && !bucket.lock().take(*rate, now)
        {
            return Err(Bound::ConnectionRate);
        }
        match self.places.clone().try_acquire_owned() {
            Ok(connection) => Ok(Place { _connection: connection, address: None }),
            Err(_) => Err(Bound::Connections),
        }
    }

    /// Counts the place for the address that its client comes from.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn come_from(&self, place: &mut Place, address: IpAddr, now: Instant) -> Result<(), Bound> {
        place.address = self.addresses.enter(address, now)?;
        Ok(())
    }

    /// The time that a socket gets to become a client's.
    ///
    /// # Errors
    /// The bound that is reached, where all who are pending have come just now.
    pub fn arrive(&self, now: Instant) -> Result<Arrival, Bound> {
        let seat = self.pending.enter(now).ok_or(Bound::PendingConnections)?;
        Ok(Arrival::new(now + self.connect_timeout, seat))
    }

    /// A turn for a TLS handshake.
    ///
    /// # Errors
    /// As [`Self::arrive`].
    pub fn begin_handshake(&self, now: Instant) -> Result<Seat, Bound> {
        self.handshakes.enter(now).ok_or(Bound::TlsHandshakes)
    }

    /// A turn for asking the connect hooks. It is given back while the client is to say more.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn begin_authentication(&self) -> Result<OwnedSemaphorePermit, Bound> {
        self.authentications.clone().try_acquire_owned().map_err(|_| Bound::PendingAuthentications)
    }

    /// Waits until every connection is gone.
    pub async fn all_gone(&self) {
        // The semaphore is never closed.
        let _ = self.places.acquire_many(self.everybody).await;
    }
}

impl Bound {
    pub const ALL: [Self; 8] = [
        Self::ConnectionRate,
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::ConnectionRatePerAddress,
        Self::PendingConnections,
        Self::TlsHandshakes,
        Self::PendingAuthentications,
        Self::Memory,
    ];

    /// The key in the section `limits`.
    pub fn key(self) -> &'static str {
        match self {
            Self::ConnectionRate => "connection_rate_per_s",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::ConnectionRatePerAddress => "connection_rate_per_address_per_s",
            Self::PendingConnections => "pending_connections",
            Self::TlsHandshakes => "tls_handshakes",
            Self::PendingAuthentications => "pending_authentications",
            Self::Memory => "memory_bytes",
        }
    }
}
