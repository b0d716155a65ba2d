//! A client that publishes at a steady rate, and what it notices of others.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hookmq_codec::{Connect, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, connect, publish};

/// How often the client asks.
const INTERVAL: Duration = Duration::from_millis(2);

/// From when a message was due until its acknowledgement was there.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Those of several times, as of one.
    pub fn together(times: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<_> = times.into_iter().flat_map(|time| time.0).collect();
        all.sort_unstable();
        Self(all)
    }

    /// The time that so many of a hundred stay below.
    pub fn percentile(&self, share: usize) -> Duration {
        self.0[(self.0.len() - 1) * share / 100]
    }
}

/// Median and 99th percentile, as two cells of a table.
impl Display for Latencies {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.2?} | {:.2?}", self.percentile(50), self.percentile(99))
    }
}

/// The CONNECT of the steady client.
pub fn steady() -> Connect<'static> {
    connect(ProtocolVersion::V5, "steady")
}

/// What `work` gives, and the latencies of a client at each address meanwhile.
pub fn beside<T, const N: usize>(
    clients: [(SocketAddr, Connect<'static>); N],
    work: impl FnOnce() -> T,
) -> (T, [Latencies; N]) {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients =
            clients.map(|(address, connect)| scope.spawn(move || ask(address, connect, over)));
        let result = work();
        over.store(true, Ordering::Relaxed);
        (result, clients.map(|client| client.join().expect("the steady client goes on")))
    })
}

fn ask(address: SocketAddr, connect: Connect<'_>, over: &AtomicBool) -> Latencies {
    let mut client = Client::connect(address, connect).0;
    let mut latencies = Vec::new();
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        due += INTERVAL;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        client.publish(publish("steady", b"42", Qos::AtLeastOnce));
        latencies.push(due.elapsed());
    }
    latencies.sort_unstable();
    Latencies(latencies)
}
