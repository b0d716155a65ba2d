//! Requests to the admin API that a page in a browser can have made, or that are too long.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::wait::{DEADLINE, wait_until};
use serde_json::Value;

const RULE: &str = "fn publish(client, message) { pass() }\n";

const CONFIGURATION: &str = "
data_dir: data
admin: {bind: \"127.0.0.1:0\"}
database: {poll_interval_ms: 20}
plugins: {artefact_bytes: 65536}
listeners: [{name: plain, bind: \"tcp://127.0.0.1:0\"}]
pipeline:
  connect: [{builtin: anonymous, config: {tenant: acme}}, {builtin: database}]
  authorize: [{builtin: open}]
  publish: [{rule: rule}]
";

/// All that do more than read, with what would change something.
const CHANGES: [(&str, &str); 17] = [
    ("POST tenants", r#"{"name": "evil"}"#),
    ("PATCH tenants/acme", r#"{"enabled": false}"#),
    ("DELETE tenants/acme", ""),
    ("POST tenants/acme/tokens", r#"{"name": "evil"}"#),
    ("DELETE tenants/acme/tokens/good", ""),
    ("POST tenants/acme/grants", r##"{"tenant": "ops", "username": "evil", "publish": ["#"]}"##),
    ("POST tenants/acme/bans", r#"{"kind": "tenant"}"#),
    ("DELETE clients/acme/somebody", ""),
    ("POST rules/rule", "fn publish(client, message) { drop() }"),
    ("POST rules/rule/versions", "fn publish(client, message) { consume() }"),
    ("POST rules/rule/stage", r#"{"stage": "shadow"}"#),
    ("POST rules/rule/promote", ""),
    ("POST rules/rule/rollback", ""),
    ("DELETE rules/rule/candidate", ""),
    ("POST rules/rule/replay", ""),
    ("POST rules/reload", ""),
    ("POST tls/reload", ""),
];

/// A broker whose every request of [`CHANGES`] would find something to change.
fn broker() -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("rule", RULE)]);
    let broker = Broker::with_config(CONFIGURATION, directory);
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    for (path, body, expected) in [
        ("tenants", r#"{"name": "acme"}"#, 201),
        ("tenants/acme/tokens", r#"{"name": "good"}"#, 201),
        ("rules/rule", &format!("{RULE}// The second."), 200),
        ("rules/rule/versions", &format!("{RULE}// The third."), 200),
    ] {
        let (status, answer) = admin.post(&format!("/api/v1/{path}"), body.as_bytes());
        assert_eq!(status, expected, "{path}: {answer}");
    }
    broker
}

/// What a change would show in.
fn state(broker: &Broker) -> Vec<Value> {
    let shown = ["tenants", "tenants/acme/tokens", "tenants/acme/grants", "tenants/acme/bans"];
    let shown = shown.iter().chain(&["rules/rule"]);
    let ask = |path: &&str| {
        let (status, answer) = broker.admin().get(&format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    shown.map(ask).collect()
}

/// The whole response to a request with these headers, each with its line's end.
fn response(broker: &Broker, request: &str, headers: &str, body: &str) -> String {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let mut stream = TcpStream::connect(broker.admin().address).expect("connect to the admin API");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let length = body.len();
    let head = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).expect("send a request");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).expect("a status")
}

fn token(broker: &Broker) -> String {
    let token = std::fs::read_to_string(broker.directory().join("data/admin.token"));
    token.expect("the token").trim().to_owned()
}

/// A browser sends cookies and passwords that it knows by itself, and a token never.
#[test]
fn a_page_that_has_no_token_changes_nothing() {
    let broker = broker();
    let (before, token) = (state(&broker), token(&broker));
    let basic = BASE64_STANDARD.encode(format!(":{token}"));
    let page = "Origin: http://evil.example\r\nReferer: http://evil.example/\r\n";
    for content_type in
        ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"]
    {
        let headers = format!(
            "{page}Content-Type: {content_type}\r\nCookie: token={token}; Authorization={token}\r\n\
             X-Api-Key: {token}\r\n"
        );
        for (request, body) in CHANGES {
            for more in [String::new(), format!("Authorization: Basic {basic}\r\n")] {
                let response = response(&broker, request, &format!("{headers}{more}"), body);
                assert_eq!(status(&response), "401", "{request}: {response}");
                assert!(!response.to_lowercase().contains("access-control"), "{response}");
            }
            let asked = format!("{request}?token={token}&access_token={token}");
            assert_eq!(status(&response(&broker, &asked, page, body)), "401", "{asked}");
        }
    }
    assert_eq!(state(&broker), before);
}

/// The browser asks before it sends what no form can send, and is told nothing that would allow it.
#[test]
fn a_page_is_allowed_nothing_when_its_browser_asks_first() {
    let broker = broker();
    let before = state(&broker);
    let authorization = format!("Authorization: Bearer {}\r\n", token(&broker));
    for (request, body) in CHANGES {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let page = format!(
            "Origin: http://evil.example\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: authorization, content-type\r\n\
             Access-Control-Request-Private-Network: true\r\n"
        );
        for (headers, expected) in [(page.clone(), "401"), (page + &authorization, "405")] {
            let response = response(&broker, &format!("OPTIONS {path}"), &headers, body);
            assert_eq!(status(&response), expected, "{path}: {response}");
            assert!(!response.to_lowercase().contains("access-control"), "{response}");
        }
    }
    assert_eq!(state(&broker), before);
}

/// Who may read may be led to send a request that says it is another one.
#[test]
fn a_request_is_what_its_first_line_says() {
    let broker = broker();
    let before = state(&broker);
    let authorization = format!("Authorization: Bearer {}\r\n", token(&broker));
    for (request, body) in CHANGES {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let mut headers = authorization.clone();
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
            headers += &format!("{name}: {method}\r\n");
        }
        for asked in [format!("GET {path}"), format!("GET {path}?_method={method}")] {
            let response = response(&broker, &asked, &headers, body);
            assert!(["200", "404", "405"].contains(&status(&response)), "{asked}: {response}");
        }
    }
    assert_eq!(state(&broker), before);
}

#[test]
fn a_body_that_is_too_long_is_told_so_wherever_there_may_be_one() {
    let broker = broker();
    let (before, admin) = (state(&broker), broker.admin());
    let tenants = ["POST tenants", "PATCH tenants/acme", "POST tenants/acme/tokens"];
    let of_tenants = ["POST tenants/acme/grants", "POST tenants/acme/bans"];
    let of_programs = ["POST rules/rule", "POST rules/rule/versions", "POST rules/rule/stage"];
    for (requests, longest) in [
        (&["POST explain"][..], 1 << 20),
        (&tenants, 64 << 10),
        (&of_tenants, 64 << 10),
        (&of_programs, 64 << 10),
    ] {
        for request in requests {
            let line = request.replacen(' ', " /api/v1/", 1);
            let long = " ".repeat(longest);
            // One byte more than is read, so that all has been read when the answer comes.
            let longer = format!("{long} ");
            let chunk = format!("{:x}\r\n{longer}", longer.len());
            let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
            for (headers, body, is_too_long) in [
                (length(&long), &long, false),
                (length(&longer), &longer, true),
                ("Transfer-Encoding: chunked\r\n".to_owned(), &chunk, true),
            ] {
                let answer = admin.raw(&line, &headers, body.as_bytes());
                let (status, answer) = answer.expect("an answer");
                assert!((400..500).contains(&status), "{request}: {status} {answer}");
                assert_eq!(status == 413, is_too_long, "{request}: {status} {answer}");
            }
        }
    }
    assert_eq!(state(&broker), before);
}
