//! Certificates that stop being good: revoked, expired, or of an authority that is no longer trusted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hookmq_codec::{Packet, ProtocolVersion, ReasonCode};
use hookmq_tests::certificates::replace;
use hookmq_tests::client::connect;
use hookmq_tests::gate::{
    self, BY_DEVICES, Gate, LISTENER, Yard, connack, later, listener, mapping,
};
use hookmq_tests::wait::wait_until;
use hookmq_tests::wire::{tcp, tls_config, tls_with};
use rustls::{ClientConfig, HandshakeKind};

const PLAIN: &str =
    "client_certificates: required, trust_anchors: [{name: devices, file: devices.crt}]";

const WITH_LIST: &str = "client_certificates: required,
    trust_anchors: [{name: devices, file: devices.crt, crl: {file: devices.crl}}]";

const WITH_LIST_IF_ANY: &str = "client_certificates: required, trust_anchors:
    [{name: devices, file: devices.crt, crl: {file: devices.crl, when_unusable: allow}}]";

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

fn with_list(tls: &str, serials: &[u8], next_update: SystemTime) -> Gate {
    let yard = Yard::lay_out();
    yard.devices.revoke(&yard.path("devices.crl"), serials, next_update);
    yard.open_with(tls)
}

fn ended(gate: &Gate, fault: &str) -> u64 {
    gate.admin().metric(&format!("certificates_ended_total{{fault=\"{fault}\"}}"))
}

#[test]
fn a_revoked_certificate_ends_its_connection_and_no_other() {
    let gate = with_list(WITH_LIST, &[], later());
    for (serial, version) in (1..).zip(VERSIONS) {
        let name = format!("pump-{serial}");
        let identity = gate.issue(&gate.devices, &name, serial);
        let other = gate.issue(&gate.devices, "valve", 99);
        let mut pump = gate.client(version, &identity, &name);
        let mut valve = gate.client(version, &other, "valve");
        let all: Vec<u8> = (1..=serial).collect();
        gate.devices.revoke(&gate.path("devices.crl"), &all, later());
        pump.expect_disconnected(ReasonCode::AdministrativeAction);
        valve.expect_nothing();
        let again = gate.try_client(version, Some(&identity), &name);
        assert_eq!(again.err(), Some(None), "it is refused in the handshake");
        assert_eq!(ended(&gate, "revoked"), u64::from(serial));
    }
    let line = gate.broker.wait_for_log("client certificate no longer good");
    for part in ["listener=\"gate\"", "tenant=\"acme\"", "CN=pump-1", "its issuer has revoked it"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn a_connection_ends_with_the_validity_of_its_certificate() {
    let gate = Yard::lay_out().open_with(PLAIN);
    for version in VERSIONS {
        let stem = gate.path("short");
        gate.devices.issue_client(&stem, "short", 1, Duration::from_secs(5));
        let mut client = gate.client(version, &stem, "short");
        client.expect_disconnected(ReasonCode::NotAuthorized);
        assert_eq!(gate.try_client(version, Some(&stem), "short").err(), Some(None));
    }
    assert_eq!(ended(&gate, "expired"), 2);
}

#[test]
fn the_clients_of_an_authority_go_with_it() {
    let yard = Yard::lay_out();
    let read = |name| std::fs::read_to_string(yard.path(name)).expect("a certificate");
    let (devices, guests) = (read("devices.crt"), read("guests.crt"));
    replace(&yard.path("devices.crt"), &format!("{devices}{guests}"));
    let gate = yard.open_with(PLAIN);
    let [device, guest] = [(&gate.devices, "device"), (&gate.guests, "guest")]
        .map(|(it, name)| gate.issue(it, name, 1));
    let mut clients = Vec::new();
    for version in VERSIONS {
        let name = format!("device {version:?}");
        clients.push(gate.client(version, &device, &name));
    }
    let mut staying = gate.client(ProtocolVersion::V5, &guest, "guest");
    replace(&gate.path("devices.crt"), &guests);
    for mut client in clients {
        client.expect_disconnected(ReasonCode::AdministrativeAction);
    }
    staying.expect_nothing();
    assert_eq!(gate.try_client(ProtocolVersion::V5, Some(&device), "device").err(), Some(None));
    assert_eq!(ended(&gate, "untrusted"), 2);
}

#[test]
fn who_has_shaken_hands_before_does_not_stay() {
    for version in VERSIONS {
        let gate = with_list(WITH_LIST, &[], later());
        let identity = gate.issue(&gate.devices, "pump", 1);
        let config = tls_config(&gate.path("server-ca.crt"), Some(&identity));
        let stream = tls_with(tcp(gate.broker.address(LISTENER)), &config, "127.0.0.1");
        let stream = stream.expect("a handshake");
        gate.devices.revoke(&gate.path("devices.crl"), &[1], later());
        gate.broker.wait_for_log("TLS material reloaded");
        // It is refused where the handshake was not over yet.
        if let Ok(mut client) = gate::admitted(stream, connect(version, "late")) {
            client.expect_disconnected(ReasonCode::AdministrativeAction);
            assert_eq!(ended(&gate, "revoked"), 1);
        }
    }
}

/// Shakes hands, connects, and takes what the broker has for later; how the handshake went.
fn handshake(gate: &Gate, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let stream = tcp(gate.broker.address(LISTENER));
    let mut stream = tls_with(stream, config, "127.0.0.1").ok()?;
    let packet = Packet::Connect(Box::new(connect(ProtocolVersion::V311, "resuming")));
    let mut bytes = Vec::new();
    packet.encode(ProtocolVersion::V311, &mut bytes).expect("CONNECT");
    connack(&mut stream, &bytes)?;
    stream.conn.handshake_kind()
}

#[test]
fn no_session_outlives_what_it_was_granted_for() {
    let gate = with_list(WITH_LIST, &[], later());
    let config =
        tls_config(&gate.path("server-ca.crt"), Some(&gate.issue(&gate.devices, "pump", 1)));
    for _ in 0..3 {
        assert_eq!(handshake(&gate, &config), Some(HandshakeKind::Full));
    }
    gate.devices.revoke(&gate.path("devices.crl"), &[1], later());
    gate.renew();
    assert_eq!(handshake(&gate, &config), None);
}

#[test]
fn sessions_of_clients_without_certificates_end_with_a_reload() {
    let connect = "[{builtin: anonymous}]";
    let yard = Yard::lay_out();
    let listener = listener("client_certificates: none");
    let gate = yard.open(&listener, connect);
    let config = tls_config(&gate.path("server-ca.crt"), None);
    assert_eq!(handshake(&gate, &config), Some(HandshakeKind::Full));
    assert_eq!(handshake(&gate, &config), Some(HandshakeKind::Resumed));
    gate.server.issue_server(&gate.path("server"));
    wait_until("the new certificate is in force", || {
        (gate.admin().get("/api/v1/tls").1["generation"].as_u64() >= Some(1)).then_some(())
    });
    assert_eq!(handshake(&gate, &config), Some(HandshakeKind::Full));
}

#[test]
fn a_list_that_is_out_of_date_lets_nobody_in_unless_that_is_meant() {
    let past = SystemTime::now() - Duration::from_secs(3600);
    for (tls, welcome) in [(WITH_LIST, false), (WITH_LIST_IF_ANY, true)] {
        let gate = with_list(tls, &[9], past);
        let good = gate.issue(&gate.devices, "good", 1);
        let revoked = gate.issue(&gate.devices, "revoked", 9);
        let version = ProtocolVersion::V5;
        assert_eq!(gate.try_client(version, Some(&good), "good").is_ok(), welcome, "{tls}");
        assert!(gate.try_client(version, Some(&revoked), "revoked").is_err(), "{tls}");
        if !welcome {
            gate.broker.wait_for_log("the revocation list is out of date since");
        }
    }
}

#[test]
fn a_list_that_runs_out_keeps_newcomers_out_and_nobody_else() {
    let gate = with_list(WITH_LIST, &[], later());
    let identity = gate.issue(&gate.devices, "pump", 1);
    let mut client = gate.client(ProtocolVersion::V5, &identity, "pump");
    let soon = SystemTime::now() + Duration::from_secs(2);
    gate.devices.revoke(&gate.path("devices.crl"), &[], soon);
    wait_until("newcomers are refused", || {
        gate.try_client(ProtocolVersion::V5, Some(&identity), "late").is_err().then_some(())
    });
    client.expect_nothing();
    gate.devices.revoke(&gate.path("devices.crl"), &[], later());
    gate.renew();
    assert!(gate.try_client(ProtocolVersion::V5, Some(&identity), "late").is_ok());
    client.expect_nothing();
}

#[test]
fn a_list_that_is_missing_or_garbage_is_a_problem_unless_that_is_meant() {
    let yard = Yard::lay_out();
    let connect = mapping(BY_DEVICES);
    let place = "listeners[0].tls.trust_anchors[0].crl.file:";
    for (content, expected) in [
        (None, "No such file"),
        (Some("garbage"), "no certificate revocation list"),
        (Some("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), "devices.crl"),
        (Some("0garbage"), "devices.crl"),
    ] {
        if let Some(content) = content {
            replace(&yard.path("devices.crl"), content);
        }
        let problem = yard.check(&listener(WITH_LIST), &connect);
        assert!(problem.contains(place) && problem.contains(expected), "{content:?}: {problem}");
        assert_eq!(yard.check(&listener(WITH_LIST_IF_ANY), &connect), "", "{content:?}");
    }
}

#[test]
fn a_list_that_was_good_is_not_lost() {
    for tls in [WITH_LIST, WITH_LIST_IF_ANY] {
        let gate = with_list(tls, &[9], later());
        let revoked = gate.issue(&gate.devices, "revoked", 9);
        let good = gate.issue(&gate.devices, "good", 1);
        let mut client = gate.client(ProtocolVersion::V5, &good, "staying");
        let refused = |expected: &str| {
            let problem = gate.reload().expect_err("it is refused");
            assert!(problem.contains(expected), "{problem}");
            assert_eq!(gate.try_client(ProtocolVersion::V5, Some(&revoked), "x").err(), Some(None));
            assert!(gate.try_client(ProtocolVersion::V5, Some(&good), "good").is_ok());
        };
        replace(&gate.path("devices.crl"), "garbage");
        refused("listener gate: tls.trust_anchors[0].crl.file");
        std::fs::remove_file(gate.path("devices.crl")).expect("remove the list");
        refused("cannot read");
        // Another authority's says nothing of these certificates.
        gate.guests.revoke(&gate.path("devices.crl"), &[], later());
        gate.renew();
        match tls {
            WITH_LIST => client.expect_disconnected(ReasonCode::AdministrativeAction),
            _ => client.expect_nothing(),
        }
    }
}

/// The records of the kind `tls`, once there are so many.
fn tls_records(gate: &Gate, count: usize) -> Vec<String> {
    wait_until("all are on record", || {
        let log = gate.broker.log();
        let records =
            log.lines().filter(|it| it.contains(" audit: ") && it.contains("kind=\"tls\""));
        let records: Vec<_> = records.map(str::to_owned).collect();
        assert!(records.len() <= count, "{records:#?}");
        (records.len() == count).then_some(records)
    })
}

#[test]
fn a_refused_certificate_is_on_record_with_what_is_known_of_it() {
    let gate = with_list(WITH_LIST, &[7], later());
    let revoked = gate.issue(&gate.devices, "revoked", 7);
    let foreign = gate.issue(&gate.guests, "foreign", 8);
    let expired = gate.path("expired");
    gate.devices.issue_client(&expired, "expired", 9, Duration::ZERO);
    // A certificate is good until the end of the second that it names.
    let is_over = |gate: &Gate| gate.try_client(ProtocolVersion::V5, Some(&expired), "x").is_err();
    let others = [
        (Some(&revoked), "CN=revoked", "CN=devices", "7", "its issuer has revoked it"),
        (Some(&foreign), "CN=foreign", "CN=guests", "8", "no trust anchor of this listener"),
    ];
    for (number, (identity, subject, issuer, serial, reason)) in (1..).zip(others) {
        let refused = gate.try_client(ProtocolVersion::V5, identity.map(|it| &**it), "x");
        assert_eq!(refused.err(), Some(None), "{subject}");
        let records = tls_records(&gate, number);
        let record = records.last().expect("there is one");
        for part in [
            "client certificate refused".to_owned(),
            format!("listener=\"{LISTENER}\""),
            format!("subject=\"{subject}\""),
            format!("issuer=\"{issuer}\""),
            format!("serial=\"{serial}\""),
            reason.to_owned(),
        ] {
            assert!(record.contains(&part), "{part} is not in {record}");
        }
    }
    wait_until("it has expired", || is_over(&gate).then_some(()));
    let record = gate.broker.wait_for_log("subject=\"CN=expired\"");
    assert!(record.contains("expired at") && record.contains("kind=\"tls\""), "{record}");
    let before = tls_records(&gate, 3);
    // Of whom nothing is shown, the address is known.
    assert_eq!(gate.try_client(ProtocolVersion::V5, None, "x").err(), Some(None));
    let records = tls_records(&gate, before.len() + 1);
    let record = records.last().expect("there is one");
    for part in ["client turned away", "listener=\"gate\"", "peer=Some(127.0.0.1:", "reason="] {
        assert!(record.contains(part), "{part} is not in {record}");
    }
}
