//! What is pushed, rolled back and deleted while it is recorded.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::thread::scope;

use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::plugins;
use serde_json::{Value, json};

use super::super::recording::HEADER;
use super::found::{plugin, sha256, standing};

/// A change of one program, and what that is then; none where it is not there any more.
#[derive(Debug)]
pub struct Asked {
    pub place: String,
    pub becomes: Option<String>,
}

/// The changes of one life: two tenants and the operator make theirs beside each other.
pub struct Pushing {
    life: usize,
    /// Of all lives, by their numbers.
    asked: Mutex<Vec<Asked>>,
}

/// A push that makes something last.
#[derive(Debug, Clone, Copy)]
pub enum Push {
    /// The second artefact of a tenant.
    Artefact,
    /// The first rule of a tenant.
    Rule,
    /// The first version of the operator's rule.
    Operators,
}

const STAMP: &str = "/api/v1/rules/stamp";
const STAMP_PLACE: &str = "rule-stamp";
const PLUGIN: &str = "/api/v1/tenants/b/plugins/p";
const PLUGIN_PLACE: &str = "b/plugins/p";
/// The second artefact that the tenant pushes.
pub const SECOND: &str = "fixtures/counter";

pub fn artefact(name: &str) -> Vec<u8> {
    std::fs::read(plugins().join(format!("{name}.wasm"))).unwrap()
}

pub fn rule(mark: &str) -> String {
    format!("fn publish(client, message) {{ message.payload = \"{mark}\"; }}")
}

impl Pushing {
    pub fn new(life: usize, asked: Vec<Asked>) -> Self {
        Self { life, asked: Mutex::new(asked) }
    }

    pub fn into_asked(self) -> Vec<Asked> {
        self.asked.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn run(&self, admin: &AdminClient) {
        scope(|threads| {
            threads.spawn(|| ["r0", "r1"].map(|it| self.push_rules(admin, "a", it)));
            threads.spawn(|| self.push_plugins(admin));
            threads.spawn(|| self.push_operators(admin));
        });
    }

    /// A push whose answer nobody waits for.
    pub fn begin_last(&self, admin: &AdminClient) -> TcpStream {
        let text = self.rule("last");
        let number = self.number("a/rules/last", Some(text.clone()));
        let mut stream = TcpStream::connect(admin.address).unwrap();
        let (token, length) = (admin.token(), text.len());
        let request = format!(
            "PUT /api/v1/tenants/a/rules/last HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\n{HEADER}: {number}\r\n\
             Content-Length: {length}\r\n\r\n{text}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// One of the pushes of [`Self::run`].
    pub fn push_again(&self, admin: &AdminClient, push: Push) {
        match push {
            Push::Artefact => {
                let becomes = plugin(&sha256(&artefact(SECOND)), &Value::Null);
                self.ask(admin, ("PUT", PLUGIN, PLUGIN_PLACE), &artefact(SECOND), Some(becomes));
            }
            Push::Rule => {
                let text = self.rule("r0-one");
                let place = ("PUT", "/api/v1/tenants/a/rules/r0", "a/rules/r0");
                self.ask(admin, place, text.as_bytes(), Some(text.clone()));
            }
            Push::Operators => {
                let text = self.rule("stamp-one");
                let stands = standing(Some(&sha256(text.as_bytes())), None);
                self.ask(admin, ("POST", STAMP, STAMP_PLACE), text.as_bytes(), stands);
            }
        }
    }

    fn push_rules(&self, admin: &AdminClient, tenant: &str, name: &str) {
        let path = format!("/api/v1/tenants/{tenant}/rules/{name}");
        let place = format!("{tenant}/rules/{name}");
        let push = |mark: &str| {
            let text = self.rule(&format!("{name}-{mark}"));
            self.ask(admin, ("PUT", &path, &place), text.as_bytes(), Some(text.clone()));
        };
        push("one");
        push("two");
        let one = self.rule(&format!("{name}-one"));
        self.ask(admin, ("POST", &format!("{path}/rollback"), &place), b"", Some(one));
        push("three");
        self.ask(admin, ("DELETE", &path, &place), b"", None);
        push("four");
    }

    fn push_plugins(&self, admin: &AdminClient) {
        let (path, place) = (PLUGIN, PLUGIN_PLACE);
        let (transform, counter) = (&artefact("json-transform")[..], &artefact(SECOND)[..]);
        let sets =
            |value: &str| json!({"operations": [{"op": "set", "field": "by", "value": value}]});
        let push = |artefact: &[u8], config: &Value| {
            let escaped: String =
                config.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            let path = match config {
                Value::Null => path.to_owned(),
                _ => format!("{path}?config={escaped}"),
            };
            let becomes = plugin(&sha256(artefact), config);
            self.ask(admin, ("PUT", &path, place), artefact, Some(becomes));
        };
        push(transform, &sets("one"));
        push(counter, &Value::Null);
        let before = plugin(&sha256(transform), &sets("one"));
        self.ask(admin, ("POST", &format!("{path}/rollback"), place), b"", Some(before));
        self.push_rules(admin, "b", "r");
        push(transform, &sets("two"));
        self.ask(admin, ("DELETE", path, place), b"", None);
        push(transform, &sets("three"));
    }

    fn push_operators(&self, admin: &AdminClient) {
        let (path, place) = (STAMP, STAMP_PLACE);
        let [one, two, three, four] =
            ["one", "two", "three", "four"].map(|it| self.rule(&format!("stamp-{it}")));
        let ask = |method, rest: &str, body: &str, stands: [Option<&str>; 2]| {
            let [active, candidate] = stands.map(|it| it.map(|text| sha256(text.as_bytes())));
            let becomes = standing(active.as_deref(), candidate.as_deref());
            let path = format!("{path}{rest}");
            self.ask(admin, (method, &path, place), body.as_bytes(), becomes);
        };
        ask("POST", "", &one, [Some(&one), None]);
        ask("POST", "", &two, [Some(&two), None]);
        ask("POST", "/rollback", "", [Some(&one), None]);
        ask("POST", "/versions", &three, [Some(&one), Some(&three)]);
        ask("POST", "/promote", "", [Some(&three), None]);
        ask("POST", "/versions", &four, [Some(&three), Some(&four)]);
        ask("DELETE", "/candidate", "", [Some(&three), None]);
    }

    /// No two are the same.
    fn rule(&self, mark: &str) -> String {
        rule(&format!("{mark}-{}", self.life))
    }

    #[track_caller]
    fn ask(
        &self,
        admin: &AdminClient,
        (method, path, place): (&str, &str, &str),
        body: &[u8],
        becomes: Option<String>,
    ) {
        let number = self.number(place, becomes);
        let headers = format!("{HEADER}: {number}\r\nContent-Length: {}\r\n", body.len());
        let answer = admin.raw(&format!("{method} {path}"), &headers, body);
        let (status, answer) = answer.expect("an answer");
        assert_eq!(status / 100, 2, "{method} {path}: {status} {answer}");
    }

    fn number(&self, place: &str, becomes: Option<String>) -> usize {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(Asked { place: place.to_owned(), becomes });
        asked.len() - 1
    }
}
