//! Requests to servers on this machine, which behave and misbehave.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

const PATIENT: Duration = Duration::from_secs(30);

/// A server that reads the head of a request and hands the connection to `answer`.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn new(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                thread::spawn(move || answer(stream.unwrap()));
            }
        });
        Self { port, connections }
    }

    /// One that answers `response` to whatever is asked, and shuts.
    fn saying(response: &'static [u8]) -> Self {
        Self::new(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(response);
        })
    }

    /// One that goes on with `piece` behind `head` for as long as somebody listens.
    fn endless(head: &'static [u8], piece: &'static [u8]) -> Self {
        Self::new(move |mut stream| {
            read_head(&mut stream);
            let mut open = stream.write_all(head).is_ok();
            while open {
                open = stream.write_all(piece).is_ok();
            }
        })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/path?query", self.port)
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn outbound(roots: RootCertStore) -> Outbound {
    Outbound::new(&HttpReach { roots, networks: Vec::new() }).unwrap()
}

fn request(url: &str, patience: Duration) -> HttpRequest {
    let (origin, path) = Origin::of_url(url).unwrap();
    HttpRequest {
        method: Method::Post,
        origin,
        path,
        headers: vec![("X-Key".into(), "value".into())],
        body: b"body".into(),
        deadline: Instant::now() + patience,
        response_bytes: 1000,
    }
}

fn send(url: &str) -> Result<HttpResponse, HttpError> {
    outbound(RootCertStore::empty()).send(request(url, PATIENT))
}

#[test]
fn a_request_arrives_whole_and_its_response_comes_back() {
    let server = Server::new(|mut stream| {
        let head = read_head(&mut stream);
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        let said = format!("{head}{}", String::from_utf8(body.into()).unwrap());
        let length = said.len();
        let head =
            format!("HTTP/1.1 201 Made\r\nX-Answer: yes\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all([head, said].concat().as_bytes()).unwrap();
    });
    let response = send(&server.url()).unwrap();
    assert_eq!(response.status, 201);
    assert!(response.headers.contains(&("x-answer".into(), "yes".into())));
    let said = String::from_utf8(response.body).unwrap().to_lowercase();
    assert!(said.starts_with("post /path?query http/1.1\r\n"), "{said}");
    for line in [
        format!("host: 127.0.0.1:{}", server.port),
        "x-key: value".into(),
        "content-length: 4".into(),
        concat!("user-agent: hookmq/", env!("CARGO_PKG_VERSION")).into(),
    ] {
        assert!(said.contains(&format!("\r\n{line}\r\n")), "{line}: {said}");
    }
    assert!(said.ends_with("\r\n\r\nbody"), "{said}");
}

#[test]
fn redirections_are_not_followed() {
    let server = Server::saying(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    let response = send(&server.url()).unwrap();
    assert_eq!((response.status, server.connections.load(Ordering::Relaxed)), (302, 1));
}

#[test]
fn a_response_has_a_bounded_size() {
    let chunk = b"A\r\n0123456789\r\n";
    for (head, piece) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"0123456789"[..]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"0123456789"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"0123456789"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n"),
    ] {
        let server = Server::endless(head, piece);
        let outcome = send(&server.url());
        assert_eq!(outcome, Err(HttpError::TooLarge), "{}", String::from_utf8_lossy(head));
    }
}

#[test]
fn a_response_must_be_whole_at_the_deadline() {
    let silent = Server::new(|mut stream| {
        // Until the other side gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let slow = Server::new(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for server in [silent, slow] {
        let request = request(&server.url(), Duration::from_millis(100));
        let outcome = outbound(RootCertStore::empty()).send(request);
        assert_eq!(outcome, Err(HttpError::Timeout));
    }
}

#[test]
fn what_is_no_response_is_a_failure() {
    for nonsense in
        [&b""[..], b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"]
    {
        let outcome = send(&Server::saying(nonsense).url());
        assert!(matches!(outcome, Err(HttpError::Failed(_))), "{outcome:?}");
    }
}

#[test]
fn localhost_is_this_machine() {
    let server = Server::saying(b"HTTP/1.1 204 No Content\r\n\r\n");
    let response = send(&format!("http://localhost:{}/", server.port)).unwrap();
    assert_eq!(response.status, 204);
}

#[test]
fn a_host_shows_a_certificate_that_somebody_trusted_has_issued() {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::new(move |stream| {
        let tls = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        let _ = stream.flush();
    });
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    for (host, roots, trusted) in [
        ("localhost", roots.clone(), true),
        ("127.0.0.1", roots.clone(), true),
        ("other.localhost", roots, false),
        ("127.0.0.1", RootCertStore::empty(), false),
    ] {
        let url = format!("https://{host}:{}/", server.port);
        let outcome = outbound(roots).send(request(&url, PATIENT));
        match trusted {
            true => assert_eq!(outcome.unwrap().status, 204, "{host}"),
            false => assert!(matches!(outcome, Err(HttpError::Failed(_))), "{host}: {outcome:?}"),
        }
    }
}

#[test]
fn whoever_waits_on_a_worker_does_not_keep_the_others_waiting() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (asked, was_asked) = std::sync::mpsc::channel();
    let server = Server::new(move |mut stream| {
        read_head(&mut stream);
        asked.send(stream).unwrap();
    });
    let url = server.url();
    let outbound = outbound(RootCertStore::empty());
    let waiting = runtime.spawn(async move {
        let mut outcome = None;
        outbound.wait(&mut || outcome = Some(outbound.send(request(&url, PATIENT))));
        outcome
    });
    let mut stream = was_asked.recv().unwrap();
    let other = runtime.spawn(async { "served" });
    assert_eq!(runtime.block_on(other).unwrap(), "served");
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    let outcome = runtime.block_on(waiting).unwrap().unwrap();
    assert_eq!(outcome.unwrap().status, 204);
}
