//! Where clients arrive: what may be bound, and what goes with it.

use super::{SOUND, Scene, assert_problem, report};
use crate::config::{Bind, WebSocketSettings};

fn with_listener(keys: &str) -> String {
    format!("{}\n", SOUND.replace("bind: tcp://127.0.0.1:0", keys))
}

#[test]
fn listeners_bind_what_is_supported_and_safe() {
    let table = [
        ("bind: udp://127.0.0.1:80", "mq.yaml:3:5: listeners[0].bind: it must start with tcp://"),
        ("bind: unix://", "mq.yaml:3:5: listeners[0].bind: unix:// needs a path"),
        ("bind: 127.0.0.1:80", "mq.yaml:3:5: listeners[0].bind: it must start with tcp://,"),
        ("bind: tcp://localhost:80", "mq.yaml:3:5: listeners[0].bind: \"localhost:80\" is not an"),
        (
            "bind: tcp://0.0.0.0:80\n    allow_public_anonymous: true",
            "mq.yaml:3:5: listeners[0].bind: without TLS, 0.0.0.0:80",
        ),
        (
            "bind: ws://0.0.0.0:80\n    allow_public_anonymous: true",
            "mq.yaml:3:5: listeners[0].bind: without TLS, 0.0.0.0:80",
        ),
        (
            "bind: tls://0.0.0.0:80\n    allow_public_anonymous: true",
            "mq.yaml:2:5: listeners[0]: a tls:// listener needs `tls`",
        ),
        (
            "bind: wss://0.0.0.0:80\n    allow_public_anonymous: true",
            "mq.yaml:2:5: listeners[0]: a wss:// listener needs `tls`",
        ),
        (
            "bind: tcp://127.0.0.1:0\n    tls: {certificate: a, key: b}",
            "mq.yaml:4:5: listeners[0].tls: a tcp:// listener has none",
        ),
        (
            "bind: tcp://0.0.0.0:80\n    allow_public_plaintext: true",
            "mq.yaml:7:7: pipeline.connect[0]: it lets everybody in at tcp://0.0.0.0:80, which",
        ),
        (
            "bind: unix:///run/a\n    allow_public_anonymous: true",
            "mq.yaml:4:5: listeners[0].allow_public_anonymous: a unix:// listener has none",
        ),
        (
            "bind: unix:///run/a\n    websocket: {}",
            "mq.yaml:4:5: listeners[0].websocket: a unix:// listener has none",
        ),
        (
            "bind: unix:///run/a\n    mode: 432",
            "mq.yaml:4:5: listeners[0].mode: invalid type: integer",
        ),
        (
            "bind: unix:///run/a\n    mode: \"0880\"",
            "mq.yaml:4:5: listeners[0].mode: it must be octal digits",
        ),
        (
            "bind: tcp://127.0.0.1:0\n    mode: \"0660\"",
            "mq.yaml:4:5: listeners[0].mode: it concerns unix:// listeners only",
        ),
        (
            "bind: tcp://127.0.0.1:0\n    websocket: {}",
            "mq.yaml:4:5: listeners[0].websocket: it concerns ws:// and wss:// listeners only",
        ),
        (
            "bind: ws://127.0.0.1:0\n    websocket: {path: mqtt}",
            "mq.yaml:4:17: listeners[0].websocket.path: it must start with a slash",
        ),
        (
            "bind: ws://127.0.0.1:0\n    websocket: {origins: [example.com]}",
            "mq.yaml:4:27: listeners[0].websocket.origins[0]: \"example.com\" is no origin",
        ),
        (
            "bind: tcp://127.0.0.1:0\n    proxy_protocol: {trusted: []}",
            "mq.yaml:4:22: listeners[0].proxy_protocol.trusted: without a trusted proxy",
        ),
        (
            "bind: tcp://127.0.0.1:0\n    proxy_protocol: {trusted: [10.0.0.1/8]}",
            "mq.yaml:4:32: listeners[0].proxy_protocol.trusted[0]: \"10.0.0.1/8\" is no IP",
        ),
    ];
    for (keys, expected) in table {
        assert_problem(&with_listener(keys), expected);
    }
}

#[test]
fn listeners_know_sockets_sites_and_proxies() {
    let scene = Scene::new(&with_listener(
        "bind: unix://run/mqtt.sock
    mode: \"0660\"
  - name: web
    bind: ws://127.0.0.1:0
    websocket: {path: /mqtt, origins: [\"https://example.com\"]}
    proxy_protocol: {trusted: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1]}
  - name: any
    bind: ws://[::1]:0",
    ));
    let [unix, web, any] = &*scene.load().unwrap().listeners else { panic!("three listeners") };
    assert_eq!((&unix.bind, unix.mode), (&Bind::Unix(scene.path("run/mqtt.sock")), 0o660));
    let settings = web.websocket.as_ref().unwrap();
    assert_eq!(settings.path.as_deref(), Some("/mqtt"));
    assert!(settings.allows("https://Example.com") && !settings.allows("http://example.com"));
    assert_eq!(any.websocket, Some(WebSocketSettings::default()));
    assert!(any.proxies.is_none());
}

#[test]
fn a_proxy_is_trusted_by_its_address_or_network() {
    let scene = Scene::new(&with_listener(
        "bind: tcp://127.0.0.1:0
    proxy_protocol: {trusted: [10.0.0.0/8, 192.0.2.1, \"2001:db8::/32\"]}",
    ));
    let config = scene.load().unwrap();
    let proxies = config.listeners[0].proxies.as_ref().unwrap();
    for (address, is_trusted) in [
        ("10.255.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("11.0.0.1", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::1", false),
        ("::a00:1", false),
    ] {
        assert_eq!(proxies.trusts(address.parse().unwrap()), is_trusted, "{address}");
    }
}

#[test]
fn listeners_have_names_and_addresses_of_their_own() {
    let two = "tcp://127.0.0.1:7\n  - name: plain\n    bind: tcp://127.0.0.1:7";
    let text = SOUND.replace("tcp://127.0.0.1:0", two);
    assert_eq!(
        report(&text),
        [
            "mq.yaml:4:5: listeners[1].name: there is another listener named \"plain\"",
            "mq.yaml:5:5: listeners[1].bind: another listener binds 127.0.0.1:7",
        ]
    );
    assert_problem(
        &SOUND.replace("name: plain", "name: a b"),
        "mq.yaml:2:5: listeners[0].name: \"a b\" is no name",
    );
}

#[test]
fn tls_files_are_checked_at_their_keys() {
    let scene = Scene::new(&with_listener(
        "bind: tls://127.0.0.1:0\n    tls:\n      key: a.key\n      certificate: a.crt",
    ));
    assert_eq!(
        scene.report(),
        ["mq.yaml:6:7: listeners[0].tls.certificate: cannot read a.crt: \
              No such file or directory (os error 2)"]
    );
    scene.write("a.crt", "nothing", 0o644);
    assert!(scene.report()[0].ends_with("a.crt holds no certificate in PEM form"));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    scene.write("a.crt", &certificate.pem(), 0o644);
    scene.write("a.key", &key.serialize_pem(), 0o644);
    assert!(
        scene.report()[0]
            .starts_with("mq.yaml:5:7: listeners[0].tls.key: a.key is open to others (mode 0644)")
    );
    scene.write("a.key", &key.serialize_pem(), 0o600);
    assert!(scene.load().unwrap().listeners[0].tls.is_some());
}

#[test]
fn trust_anchors_are_checked_at_their_place() {
    let scene = Scene::new(&with_listener(
        "bind: tls://127.0.0.1:0
    tls:
      certificate: a.crt
      key: a.key
      client_certificates: required
      trust_anchors:
        - {name: one, file: a.crt}
        - name: one
          file: nowhere.crt",
    ));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    scene.write("a.crt", &certificate.pem(), 0o644);
    scene.write("a.key", &key.serialize_pem(), 0o600);
    let report = scene.report();
    let anchors = "listeners[0].tls.trust_anchors[1]";
    assert_eq!(
        report[0],
        format!("mq.yaml:10:11: {anchors}.name: there is another trust anchor named \"one\"")
    );
    assert!(report[1].starts_with(&format!("mq.yaml:11:11: {anchors}.file: cannot read")));
}
