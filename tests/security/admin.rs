//! Who calls the admin API by a name that is not its own, or never ends a request.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};
use hookmq_tests::wait::{DEADLINE, wait_until};

/// Between two bytes of somebody slow.
const PAUSE: Duration = Duration::from_millis(20);

/// A broker whose section `admin` has these keys as well.
fn broker(admin: &str) -> Broker {
    let yaml = format!(
        "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"{admin}}}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
    );
    Broker::with_config(&yaml, directory())
}

fn authorization(broker: &Broker) -> String {
    // By then there is a token.
    let _ = broker.admin();
    let token = std::fs::read_to_string(broker.directory().join("data/admin.token"));
    format!("Authorization: Bearer {}\r\n", token.expect("the token").trim())
}

fn open(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.admin().address).expect("connect to the admin API");
    stream.set_read_timeout(Some(PAUSE)).expect("a deadline");
    stream
}

/// Sends `more`, byte by byte, and nothing afterwards, until the API closes; gives what it has said.
fn answer_to_one_who_is_slow(mut stream: TcpStream, begin: &str, more: &str) -> String {
    stream.write_all(begin.as_bytes()).expect("send");
    let (mut answer, mut more) = (Vec::new(), more.bytes());
    wait_until("the API closes", || {
        let sent = more.next().is_none_or(|byte| stream.write_all(&[byte]).is_ok());
        match stream.read_to_end(&mut answer) {
            Err(error) if sent && error.kind() == ErrorKind::WouldBlock => None,
            _ => Some(()),
        }
    });
    String::from_utf8(answer).expect("text")
}

#[test]
fn who_calls_the_api_by_another_name_is_refused() {
    let broker = broker(", hosts: [mq.example]");
    let authorization = authorization(&broker);
    let ask = |target: &str, hosts: &str| {
        let mut stream = open(&broker);
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let head = format!("GET {target} HTTP/1.1\r\n{hosts}{authorization}\r\n");
        stream.write_all(head.as_bytes()).expect("send a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    let status = "/api/v1/status";
    for own in ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080", "192.0.2.7", "mq.Example:9"]
    {
        assert_eq!(ask(status, &format!("Host: {own}\r\n")), "200", "{own}");
    }
    let foreign = [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "localhost@evil.example",
        "mq.example.",
        "mq.example,evil.example",
        "[evil.example]",
    ];
    for host in foreign {
        assert_eq!(ask(status, &format!("Host: {host}\r\n")), "421", "{host}");
    }
    assert_eq!(ask(status, ""), "421", "no name at all");
    assert_eq!(ask(status, "Host: localhost\r\nHost: evil.example\r\n"), "421", "two names");
    assert_eq!(ask("http://evil.example/api/v1/status", "Host: localhost\r\n"), "421");
    assert_eq!(ask("http://localhost/api/v1/status", "Host: localhost\r\n"), "200");
    let line = broker.wait_for_log("kind=\"admin_refused\"");
    assert!(line.contains("status=421"), "{line}");
}

#[test]
fn headers_that_do_not_end_are_not_waited_for() {
    let broker = broker(", header_timeout_ms: 200");
    let begun =
        format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n{}", authorization(&broker));
    let long = format!("X: {}", "x".repeat(100_000));
    for (begin, more) in [("", ""), ("GET", ""), (&*begun, ""), (&*begun, &*long)] {
        let answer = answer_to_one_who_is_slow(open(&broker), begin, more);
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(broker.admin().get("/api/v1/status").0, 200);
}

#[test]
fn a_body_that_does_not_end_is_given_up() {
    let broker = broker(", request_timeout_ms: 200");
    let authorization = authorization(&broker);
    for path in ["explain", "tenants", "rules/r"] {
        let begin = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\
             Content-Type: application/json\r\n{authorization}\r\n"
        );
        let answer = answer_to_one_who_is_slow(open(&broker), &begin, &"[".repeat(100_000));
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
    }
}

#[test]
fn a_body_that_is_too_long_is_not_taken() {
    let broker = broker("");
    let body = vec![b' '; 2 << 20];
    for path in ["explain", "tenants"] {
        let headers =
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let answer = broker.admin().raw(&format!("POST /api/v1/{path}"), &headers, &body);
        // Who closes before it has heard all may reset the connection.
        let status = answer.map(|(status, _)| status);
        assert!(matches!(status, None | Some(400 | 413)), "{path}: {status:?}");
    }
}

#[test]
fn connections_that_say_nothing_do_not_shut_the_api() {
    let broker = broker(", header_timeout_ms: 200");
    let idle: Vec<_> = (0..600).map(|_| open(&broker)).collect();
    assert_eq!(broker.admin().get("/api/v1/status").0, 200);
    drop(idle);
}
