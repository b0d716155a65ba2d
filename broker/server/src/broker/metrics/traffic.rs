//! Packets, messages and bytes that pass, counted by each worker in a place of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use hookmq_hooks::Places;

/// What passed: in one turn of a connection, or since the broker began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic<N = u64> {
    /// Packets of every type.
    pub packets_received: N,
    pub packets_sent: N,
    /// As MQTT; without TLS and WebSocket.
    pub bytes_received: N,
    pub bytes_sent: N,
    /// PUBLISH packets.
    pub messages_received: N,
    pub messages_sent: N,
    /// Of these, payload alone.
    pub payload_bytes_received: N,
    pub payload_bytes_sent: N,
}

/// [`Traffic`] of all connections.
#[derive(Debug, Default)]
pub struct TrafficCounters(Places<[AtomicU64; 8]>);

/// Messages and bytes each way, of one connection or of those that are gone.
#[derive(Debug, Default)]
pub struct TenantTraffic([AtomicU64; 4]);

impl TrafficCounters {
    /// Adds what passed in one turn.
    #[inline]
    pub fn add(&self, turn: Traffic<u32>) {
        for (counter, count) in self.0.own().iter().zip(turn.fields()) {
            if count > 0 {
                counter.fetch_add(u64::from(count), Ordering::Relaxed);
            }
        }
    }

    pub fn sum(&self) -> Traffic {
        let mut sum = [0; 8];
        for counters in self.0.iter() {
            for (sum, counter) in sum.iter_mut().zip(counters) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        Traffic::from_fields(sum)
    }
}

impl TenantTraffic {
    /// As [`Self::sum`] has them.
    pub const NAMES: [&str; 4] = ["messages_in", "bytes_in", "messages_out", "bytes_out"];

    /// Adds what passed in one turn of the connection whose it is. Nobody else writes, so that it
    /// takes no lock on the cache line.
    #[inline]
    pub fn add_own(&self, turn: &Traffic<u32>) {
        let counts =
            [turn.messages_received, turn.bytes_received, turn.messages_sent, turn.bytes_sent];
        for (counter, count) in self.0.iter().zip(counts) {
            counter.store(counter.load(Ordering::Relaxed) + u64::from(count), Ordering::Relaxed);
        }
    }

    /// Adds what a connection has counted that is gone.
    pub fn add_gone(&self, gone: &Self) {
        for (counter, count) in self.0.iter().zip(gone.sum()) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub fn sum(&self) -> [u64; 4] {
        self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}

impl<N> Traffic<N> {
    fn fields(self) -> [N; 8] {
        [
            self.packets_received,
            self.packets_sent,
            self.bytes_received,
            self.bytes_sent,
            self.messages_received,
            self.messages_sent,
            self.payload_bytes_received,
            self.payload_bytes_sent,
        ]
    }

    fn from_fields(fields: [N; 8]) -> Self {
        let [
            packets_received,
            packets_sent,
            bytes_received,
            bytes_sent,
            messages_received,
            messages_sent,
            payload_bytes_received,
            payload_bytes_sent,
        ] = fields;
        Self {
            packets_received,
            packets_sent,
            bytes_received,
            bytes_sent,
            messages_received,
            messages_sent,
            payload_bytes_received,
            payload_bytes_sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than have a place of their own.
    const THREADS: u64 = 20;

    #[test]
    fn what_all_threads_count_is_in_the_sum() {
        let counters = TrafficCounters::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    counters.add(Traffic {
                        bytes_sent: 5,
                        messages_received: 1,
                        ..Default::default()
                    });
                });
            }
        });
        let expected =
            Traffic { bytes_sent: 5 * THREADS, messages_received: THREADS, ..Default::default() };
        assert_eq!(counters.sum(), expected);
    }
}
