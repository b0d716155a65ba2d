//! A database that hangs, breaks off or talks nonsense: who comes is told soon, who is here notices nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ProtocolVersion::{V5, V311};
use hookmq_codec::{Connect, Packet, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{Client, Received, connect};
use hookmq_tests::company::Tables;
use hookmq_tests::fault_proxy::{Fault, FaultProxy};
use hookmq_tests::guarded::{PASSWORD, SCRAM, auth, connack_of, connect_by, data_of, secret};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::scram::ScramClient;
use hookmq_tests::wait::wait_until;

use crate::Bystanders;

/// Whom the client claims to be.
const CLAIM: &str = r#"
fn connect(client) { accept(#{ tenant: "acme", username: client.claimed_username }) }
"#;

const CONFIGURATION: &str = "
data_dir: data
admin: {bind: \"127.0.0.1:0\"}
abuse: {failures_per_address: 0, failures_per_username: 0}
listeners:
  - {name: password, bind: \"tcp://127.0.0.1:0\"}
  - {name: scram, bind: \"tcp://127.0.0.1:0\"}
  - {name: claim, bind: \"tcp://127.0.0.1:0\"}
pipeline:
  connect:
    - {builtin: password, listeners: [password], config: {tenant: acme}}
    - {builtin: scram, listeners: [scram], config: {tenant: acme, iterations: 4096}}
    - {rule: claim, listeners: [claim]}
    - builtin: database
  authorize: [{builtin: database}]
";

/// Twice what an answer is meant to take.
const SOON: Duration = Duration::from_secs(4);

/// The listener is named for the step before `database`.
const CHAINS: [(&str, ProtocolVersion); 5] =
    [("password", V311), ("password", V5), ("scram", V5), ("claim", V311), ("claim", V5)];

/// A broker whose database is behind a proxy. Nobody of its hundred clients has been there before.
struct Site {
    broker: Broker,
    proxy: FaultProxy,
    tables: Tables,
    used: u32,
}

impl Site {
    fn start() -> Self {
        Self::start_with("", "")
    }

    /// With these keys of the section `database`, and these sections.
    fn start_with(database: &str, sections: &str) -> Self {
        let server = Postgres::start().expect("start Postgres");
        let url = server.create_database().expect("make a database");
        let proxy = FaultProxy::start(server.socket());
        let name = url.rsplit('/').next().expect("a name");
        let through_proxy = format!("postgres://postgres@{}/{name}", proxy.address());
        let directory = directory();
        add_rules(directory.path(), &[("claim", CLAIM)]);
        let yaml = format!(
            "{CONFIGURATION}{sections}\ndatabase: {{url: \"{through_proxy}\"{database}}}\n"
        );
        let broker = Broker::with_config(&yaml, directory);
        let tables = Tables::Postgres { server, url };
        let site = Self { broker, proxy, tables, used: 0 };
        site.wait_until_ready();
        site.tables.execute(&seed());
        site
    }

    fn wait_until_ready(&self) {
        let admin = self.broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    }

    /// Whom the broker does not know yet.
    fn next(&mut self) -> String {
        self.used += 1;
        format!("device-{}", self.used)
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.broker.address(listener)
    }
}

fn seed() -> String {
    let password = secret(&["password"], PASSWORD);
    let scram = secret(&["scram", "--iterations", "4096"], PASSWORD);
    format!(
        "INSERT INTO tenants (name) VALUES ('acme');
        INSERT INTO principals (tenant, username)
            SELECT 'acme', 'device-' || n FROM generate_series(1, 100) AS n;
        INSERT INTO credentials (tenant, username, kind, secret)
            SELECT 'acme', username, 'password', '{password}' FROM principals;
        INSERT INTO credentials (tenant, username, kind, secret)
            SELECT 'acme', username, 'scram-sha-256', '{scram}' FROM principals;
        INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
            ('acme', 'everyone', 'publish', 'bystanders'),
            ('acme', 'everyone', 'subscribe', 'bystanders');"
    )
}

/// One who connects while others exchange messages.
struct Arrival {
    client: Client,
    begun: Instant,
    scram: Option<ScramClient>,
}

impl Arrival {
    fn begin(site: &mut Site, (listener, version): (&str, ProtocolVersion)) -> Self {
        let username = site.next();
        let mut client = Client::open(site.address(listener), version);
        let scram = (listener == "scram").then(|| ScramClient::new(&username, PASSWORD));
        let first = scram.as_ref().map(|it| it.first());
        let packet = match &first {
            Some(first) => connect_by(SCRAM, &username, Some(first.as_bytes())),
            None => Connect {
                username: Some(&username),
                password: Some(PASSWORD.as_bytes()),
                ..connect(version, &username)
            },
        };
        let begun = Instant::now();
        client.send(&Packet::Connect(Box::new(packet)));
        Self { client, begun, scram }
    }

    /// Answers where it is challenged; gives CONNACK's code.
    fn end(mut self) -> (ReasonCode, Duration) {
        let mut answer: Received = self.client.receive();
        if let (Some(scram), Packet::Auth(_)) = (&self.scram, answer.packet()) {
            let last = scram.last(data_of(&answer));
            let last = last.message.into_bytes();
            self.client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, &last));
            answer = self.client.receive();
        }
        (connack_of(&answer).reason_code, self.begun.elapsed())
    }
}

fn bystanders(site: &mut Site) -> Bystanders {
    let (username, address) = (site.next(), site.address("claim"));
    Bystanders::of(|client_id| {
        let packet = Connect { username: Some(&username), ..connect(V5, client_id) };
        Client::connect(address, packet).0
    })
}

const FAULTS: [Fault; 4] = [Fault::Refuse, Fault::Hang, Fault::Reset, Fault::Garbage];

impl Site {
    /// The fault is over: newcomers are let in.
    fn recover(&mut self, chain: (&str, ProtocolVersion)) {
        self.proxy.set(Fault::None);
        self.wait_until_ready();
        wait_until("newcomers are let in", || {
            (Arrival::begin(self, chain).end().0 == ReasonCode::Success).then_some(())
        });
    }

    /// Connects while the others exchange messages; gives CONNACK's code, which comes soon.
    #[track_caller]
    fn knock(&mut self, chain: (&str, ProtocolVersion), bystanders: &mut Bystanders) -> ReasonCode {
        let arrival = Arrival::begin(self, chain);
        bystanders.exchange();
        let (code, after) = arrival.end();
        eprintln!("{chain:?}: {code:?} after {after:?}");
        assert!(after < SOON, "{after:?}");
        bystanders.exchange();
        code
    }
}

#[test]
fn whoever_comes_in_an_outage_is_told_soon_and_whoever_is_here_goes_on() {
    let mut site = Site::start();
    let mut bystanders = bystanders(&mut site);
    for fault in FAULTS {
        for chain in CHAINS {
            eprintln!("{fault:?}");
            site.recover(chain);
            site.proxy.set(fault);
            // The first comes upon connections that the broker has, the second when it knows.
            for _ in 0..2 {
                assert_eq!(site.knock(chain, &mut bystanders), ReasonCode::ServerUnavailable);
            }
        }
    }
    site.recover(CHAINS[0]);
}

/// A question takes the server one answer or two, so each comes just in time or just too late, and there
/// are several questions.
#[test]
fn a_database_that_takes_nearly_too_long_holds_nobody_up_for_long() {
    let mut site = Site::start();
    let mut bystanders = bystanders(&mut site);
    for milliseconds in [700, 1400] {
        for chain in CHAINS {
            // What is asked is prepared by then.
            site.recover(chain);
            site.proxy.set(Fault::Delay(Duration::from_millis(milliseconds)));
            for _ in 0..2 {
                let code = site.knock(chain, &mut bystanders);
                let is_told = code == ReasonCode::ServerUnavailable;
                assert!(is_told || code == ReasonCode::Success, "{code:?}");
            }
        }
    }
}

/// The password is proven, and then nobody can say who it is.
#[test]
fn an_outage_between_two_steps_lets_nobody_in() {
    let mut site = Site::start();
    for fault in FAULTS {
        let username = site.next();
        let scram = ScramClient::new(&username, PASSWORD);
        let first = scram.first();
        let packet = connect_by(SCRAM, &username, Some(first.as_bytes()));
        let (mut client, challenge) = Client::attempt(site.address("scram"), packet);
        let last = scram.last(data_of(&challenge)).message.into_bytes();
        site.proxy.set(fault);
        let begun = Instant::now();
        client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, &last));
        let code = connack_of(&client.receive()).reason_code;
        let after = begun.elapsed();
        assert_eq!(code, ReasonCode::ServerUnavailable, "{fault:?}");
        assert!(after < SOON, "{fault:?}: {after:?}");
        client.expect_closed();
        site.recover(("scram", V5));
    }
}

/// One connection, which waits for two answers at each question: whether it still is one, and the answer.
/// Nobody else uses it.
const ONE_CONNECTION: &str =
    ", max_connections: 1, poll_interval_ms: 3600000, cached_principals: 2, timeout_ms: 4000";
const PATIENT: &str = "limits: {connect_timeout_ms: 20000}";
/// A question is answered in time, two are not.
const SLOW: Fault = Fault::Delay(Duration::from_millis(1200));

impl Site {
    fn failures_of_database(&self) -> u64 {
        let labels = ["program=\"database\"", "hook=\"connect\"", "reason=\"unavailable\""];
        self.broker.admin().metric_with("step_errors_total", &labels).unwrap_or(0)
    }
}

#[test]
fn what_one_step_has_waited_the_next_one_has_no_more() {
    for chain in CHAINS {
        // One of its own for each: after a failure the broker looks after the database, too.
        let mut site = Site::start_with(ONE_CONNECTION, PATIENT);
        // What is asked is prepared by then, and the broker has seen what is in the tables.
        for other in CHAINS {
            site.recover(other);
        }
        let before = site.failures_of_database();
        site.proxy.set(SLOW);
        let (code, _) = Arrival::begin(&mut site, chain).end();
        let failures = site.failures_of_database() - before;
        if chain.0 == "claim" {
            assert_eq!((code, failures), (ReasonCode::Success, 0), "{chain:?}");
            continue;
        }
        assert_eq!((code, failures), (ReasonCode::ServerUnavailable, 1), "{chain:?}");
        let record = site.broker.wait_for_log("client refused");
        assert!(record.contains("step=\"database\""), "{record}");
    }
}

#[test]
fn who_authenticates_again_waits_no_longer_than_who_connects() {
    let mut site = Site::start_with(ONE_CONNECTION, PATIENT);
    let username = site.next();
    let first = ScramClient::new(&username, PASSWORD);
    let (opening, address) = (first.first(), site.address("scram"));
    let packet = connect_by(SCRAM, &username, Some(opening.as_bytes()));
    let (mut client, challenge) = Client::attempt(address, packet);
    let renew = |client: &mut Client| {
        let scram = ScramClient::new(&username, PASSWORD);
        client.send(&auth(ReasonCode::ReAuthenticate, SCRAM, scram.first().as_bytes()));
        let challenge = client.receive();
        let last = scram.last(data_of(&challenge)).message.into_bytes();
        client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, &last));
        client.receive()
    };
    let last = first.last(data_of(&challenge)).message.into_bytes();
    client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, &last));
    assert_eq!(connack_of(&client.receive()).reason_code, ReasonCode::Success);
    assert!(matches!(renew(&mut client).packet(), Packet::Auth(_)));
    // Others come, and what is known of this one is forgotten: only what is not known is refused.
    for _ in 0..3 {
        assert_eq!(Arrival::begin(&mut site, ("claim", V5)).end().0, ReasonCode::Success);
    }
    site.proxy.set(SLOW);
    let answer = renew(&mut client);
    let Packet::Disconnect(disconnect) = answer.packet() else { panic!("it is renewed") };
    assert_eq!(disconnect.reason_code, ReasonCode::NotAuthorized);
    let log = site.broker.log();
    let told = |line: &&str| {
        line.contains("re-authentication refused") && line.contains("step=\"database\"")
    };
    assert!(log.lines().any(|line| told(&line)), "{log}");
}
