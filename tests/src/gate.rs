//! A broker behind TLS whose clients show certificates, and the authorities that issue them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hookmq_codec::{Connect, Packet, ProtocolVersion};
use tempfile::TempDir;

use crate::admin::AdminClient;
use crate::broker::{Broker, directory, hookmq};
use crate::certificates::Authority;
use crate::client::{Client, connect};
use crate::wire::{Wire, tcp, tls_config, tls_with};

/// The name of the listener of [`Yard::open_with`].
pub const LISTENER: &str = "gate";

/// For clients and servers of which nothing else is asked.
pub const LONG: Duration = Duration::from_secs(3600 * 24 * 365);

/// Files of which a broker can be made: `server` with its authority `server-ca`, and the authorities
/// `devices` and `guests`, whose certificates are in files of their names.
pub struct Yard {
    pub directory: TempDir,
    pub server: Authority,
    pub devices: Authority,
    pub guests: Authority,
}

/// A running broker.
pub struct Gate {
    pub broker: Broker,
    pub server: Authority,
    pub devices: Authority,
    pub guests: Authority,
}

/// A mapping by common names.
pub const BY_DEVICES: &str = "{trust_anchor: devices, tenant: acme, username: \"{cn}\"}";

/// The listener of [`Yard::open_with`].
pub fn listener(tls: &str) -> String {
    format!(
        "[{{name: {LISTENER}, bind: \"tls://127.0.0.1:0\",
           tls: {{certificate: server.crt, key: server.key, {tls}}}}}]"
    )
}

/// The step `certificate` with one mapping.
pub fn mapping(mapping: &str) -> String {
    format!("[{{builtin: certificate, config: {{mappings: [{mapping}]}}}}]")
}

fn yaml(listeners: &str, connect: &str) -> String {
    format!(
        "data_dir: data
abuse: {{failures_per_address: 0, failures_per_username: 0}}
admin: {{bind: \"127.0.0.1:0\"}}
tls: {{reload_interval_ms: 100}}
listeners: {listeners}
pipeline:
  connect: {connect}
  authorize: [{{builtin: open}}]
"
    )
}

impl Yard {
    pub fn lay_out() -> Self {
        let directory = directory();
        let authority = |name: &str| {
            let authority = Authority::new(name);
            authority.save(&directory.path().join(format!("{name}.crt")));
            authority
        };
        let [server, devices, guests] = ["server-ca", "devices", "guests"].map(authority);
        server.issue_server(&directory.path().join("server"));
        Self { server, devices, guests, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A broker with these listeners and connect steps, each a list in YAML's flow form. It looks at its
    /// files ten times a second.
    pub fn open(self, listeners: &str, connect: &str) -> Gate {
        let yaml = yaml(listeners, connect);
        let Self { directory, server, devices, guests } = self;
        Gate { broker: Broker::with_config(&yaml, directory), server, devices, guests }
    }

    /// A broker with one listener, whose `tls` has these keys beside its certificate. A client is whom
    /// the common name of its certificate by the anchor `devices` names.
    pub fn open_with(self, tls: &str) -> Gate {
        self.open(&listener(tls), &mapping(BY_DEVICES))
    }

    /// What `hookmq check` says of it; empty where it is sound.
    pub fn check(&self, listeners: &str, connect: &str) -> String {
        let config = self.path("hookmq.yaml");
        std::fs::write(&config, yaml(listeners, connect)).expect("write the configuration");
        let output = hookmq().args(["check", "--config"]).arg(config).output().expect("hookmq");
        assert_eq!(output.status.success(), output.stderr.is_empty());
        String::from_utf8(output.stderr).expect("UTF-8")
    }
}

impl Gate {
    pub fn path(&self, name: &str) -> PathBuf {
        self.broker.directory().join(name)
    }

    pub fn admin(&self) -> AdminClient {
        self.broker.admin()
    }

    /// A client's certificate by `authority`, in a file of its name.
    pub fn issue(&self, authority: &Authority, name: &str, serial: u8) -> PathBuf {
        let stem = self.path(name);
        authority.issue_client(&stem, name, serial, LONG);
        stem
    }

    /// Connects to the listener with this certificate; the client id is `client_id`.
    ///
    /// # Errors
    /// What CONNACK says, or nothing where there is none.
    pub fn try_client(
        &self,
        version: ProtocolVersion,
        identity: Option<&Path>,
        client_id: &str,
    ) -> Result<Client, Option<u8>> {
        self.try_at(LISTENER, identity, connect(version, client_id))
    }

    /// The same with any CONNECT, at any listener.
    ///
    /// # Errors
    /// As [`Self::try_client`].
    pub fn try_at(
        &self,
        listener: &str,
        identity: Option<&Path>,
        packet: Connect<'_>,
    ) -> Result<Client, Option<u8>> {
        let config = tls_config(&self.path("server-ca.crt"), identity);
        let stream = tcp(self.broker.address(listener));
        let stream = tls_with(stream, &config, "127.0.0.1").map_err(|_| None)?;
        admitted(stream, packet)
    }

    /// The username of a client of the tenant `acme` that is connected.
    pub fn username(&self, client_id: &str) -> String {
        let (_, clients) = self.admin().get("/api/v1/clients?tenant=acme");
        let items = clients["items"].as_array().expect("a list of clients");
        let client = items.iter().find(|item| item["client_id"] == client_id);
        let username = client.and_then(|client| client["username"].as_str());
        username.expect("a client of that id").to_owned()
    }

    #[track_caller]
    pub fn client(&self, version: ProtocolVersion, identity: &Path, client_id: &str) -> Client {
        match self.try_client(version, Some(identity), client_id) {
            Ok(client) => client,
            Err(code) => panic!("not admitted: {code:?}\n{}", self.broker.log()),
        }
    }

    /// What `POST /tls/reload` answers: the outcome, or the error's message.
    pub fn reload(&self) -> Result<String, String> {
        let (status, answer) = self.admin().post("/api/v1/tls/reload", &[]);
        match status {
            200 => Ok(answer["outcome"].as_str().expect("an outcome").to_owned()),
            422 => Err(answer["error"]["message"].as_str().expect("a message").to_owned()),
            _ => panic!("{status}: {answer}"),
        }
    }

    /// Puts in force what the files hold now. The broker looks at them by itself, and may have been first.
    ///
    /// # Panics
    /// Where they are refused.
    pub fn renew(&self) {
        let outcome = self.reload();
        assert!(matches!(outcome.as_deref(), Ok("applied" | "unchanged")), "{outcome:?}");
    }
}

/// Sends CONNECT over `stream` and is admitted.
///
/// # Errors
/// What CONNACK says, or nothing where there is none.
pub fn admitted(
    mut stream: impl Wire + 'static,
    packet: Connect<'_>,
) -> Result<Client, Option<u8>> {
    let version = packet.version;
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(packet)).encode(version, &mut bytes).expect("CONNECT");
    match connack(&mut stream, &bytes) {
        Some(0) => Ok(Client::over(stream, version)),
        code => Err(code),
    }
}

/// Sends CONNECT; gives the code of CONNACK, which is taken from the stream. None where the broker closes
/// instead, or says by TLS what it has against the client.
pub fn connack(stream: &mut (impl Read + Write), connect: &[u8]) -> Option<u8> {
    stream.write_all(connect).ok()?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[0], 0x20, "CONNACK, whose length is one byte");
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).ok()?;
    Some(rest[1])
}

/// In an hour.
pub fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}
