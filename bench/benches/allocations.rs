//! How many pieces of memory the broker takes for a PUBLISH, and for each subscriber more.
//!
//! The broker runs within this program, behind real sockets; only its workers are counted, not the thread
//! that writes the store. Each figure is of messages after a warm-up, when buffers and caches have grown.

use std::net::SocketAddr;
use std::path::Path;

use hookmq::config::{Bind, Config};
use hookmq::server::Server;
use hookmq_bench::counting::{Counting, count_this_thread, counts};
use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, ack, connect, packet_id, publish};
use mimalloc::MiMalloc;
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

const TOPIC: &str = "devices/pump-7/telemetry";
const WARM_UP: usize = 20;
const BURSTS: usize = 50;

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = start(directory.path());
    println!("| version | QoS | subscribers | in one write | allocations of each PUBLISH |");
    println!("|---|---|---:|---:|---:|");
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for (subscribers, burst) in [(0, 1), (1, 1), (100, 1), (0, 100), (1, 100), (100, 100)] {
                let mut scene = Scene::new(address, version, qos, subscribers);
                (0..WARM_UP).for_each(|_| scene.publish(burst));
                let before = counts();
                (0..BURSTS).for_each(|_| scene.publish(burst));
                let allocations = counts().since(before).allocations;
                println!(
                    "| {} | {} | {subscribers} | {burst} | {:.2} |",
                    version.name(),
                    qos as u8,
                    allocations as f64 / (BURSTS * burst) as f64,
                );
            }
        }
    }
}

/// A broker as it comes, and where it listens.
fn start(directory: &Path) -> SocketAddr {
    let bind: Bind = "tcp://127.0.0.1:0".parse().expect("an address");
    let config = Config::embedded(directory.join("data"), &[bind]);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(count_this_thread)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime.block_on(Server::build(config)).expect("the broker starts");
    let Some((_, &Bind::Network { address, .. })) = server.places().next() else {
        panic!("no listener")
    };
    std::thread::spawn(move || runtime.block_on(server.run(std::future::pending())));
    address
}

/// A publisher and its subscribers.
struct Scene {
    qos: Qos,
    publisher: Client,
    subscribers: Vec<Client>,
}

impl Scene {
    fn new(address: SocketAddr, version: ProtocolVersion, qos: Qos, subscribers: usize) -> Self {
        let subscribers = (0..subscribers).map(|number| {
            let mut client = Client::connect(address, connect(version, &format!("s{number}"))).0;
            client.subscribe(TOPIC, qos);
            client
        });
        let subscribers = subscribers.collect();
        let publisher = Client::connect(address, connect(version, "publisher")).0;
        Self { qos, publisher, subscribers }
    }

    /// Publishes so many messages in one write, and waits until all is said and done.
    fn publish(&mut self, count: usize) {
        let mut bytes = Vec::new();
        for number in 0..count {
            let mut publish = publish(TOPIC, &[b'.'; 64], self.qos);
            publish.packet_id = (self.qos != Qos::AtMostOnce).then(|| packet_id(number as u16 + 1));
            bytes.extend(self.publisher.encode(&Packet::Publish(publish)));
        }
        self.publisher.send_raw(&bytes);
        for subscriber in &mut self.subscribers {
            for _ in 0..count {
                let message =
                    subscriber.receive_where(|packet| matches!(packet, Packet::Publish(_)));
                subscriber.acknowledge(&message);
            }
        }
        match self.qos {
            // Who is answered has been heard before, too.
            Qos::AtMostOnce => {
                self.publisher.send(&Packet::PingReq);
                assert_eq!(self.publisher.receive().packet(), Packet::PingResp);
            }
            Qos::AtLeastOnce | Qos::ExactlyOnce => self.finish(count),
        }
    }

    /// Waits for the acknowledgements.
    fn finish(&mut self, count: usize) {
        let mut finished = 0;
        while finished < count {
            match self.publisher.receive().packet() {
                Packet::PubAck(_) | Packet::PubComp(_) => finished += 1,
                Packet::PubRec(answer) => {
                    self.publisher.send(&Packet::PubRel(ack(answer.packet_id)));
                }
                other => panic!("an unexpected answer: {other:?}"),
            }
        }
    }
}
