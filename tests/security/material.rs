//! Certificates of the broker and their keys, changed under the eyes of clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use hookmq_codec::ProtocolVersion;
use hookmq_tests::certificates::replace;
use hookmq_tests::client::{Client, connect};
use hookmq_tests::gate::{self, BY_DEVICES, Gate, LISTENER, Yard, listener, mapping};
use hookmq_tests::wait::wait_until;
use hookmq_tests::wire::{tcp, tls_config, tls_with};
use rustls::ClientConfig;
use rustls::client::Resumption;
use serde_json::Value;

const OPEN: &str = "[{builtin: anonymous}]";

/// Shakes hands without an old session and is admitted.
fn admitted(gate: &Gate, config: &Arc<ClientConfig>, server: &str, client_id: &str) -> bool {
    let stream = tcp(gate.broker.address(LISTENER));
    let Ok(stream) = tls_with(stream, config, server) else { return false };
    gate::admitted(stream, connect(ProtocolVersion::V311, client_id)).is_ok()
}

fn fresh(gate: &Gate, identity: Option<&std::path::Path>) -> Arc<ClientConfig> {
    let mut config = (*tls_config(&gate.path("server-ca.crt"), identity)).clone();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn state(gate: &Gate) -> Value {
    gate.admin().get("/api/v1/tls").1
}

/// As many clients as the machine lets shake hands, without certificates and with them.
#[test]
fn no_handshake_fails_while_certificates_change() {
    for tls in [
        "client_certificates: none",
        "client_certificates: required, trust_anchors: [{name: devices, file: devices.crt}]",
    ] {
        let gate = Yard::lay_out().open(&listener(tls), OPEN);
        let identity = gate.issue(&gate.devices, "device", 1);
        let identity = tls.contains("required").then_some(identity);
        let config = fresh(&gate, identity.as_deref());
        let mut staying = Client::over(
            tls_with(tcp(gate.broker.address(LISTENER)), &config, "127.0.0.1").unwrap(),
            ProtocolVersion::V5,
        )
        .admitted(connect(ProtocolVersion::V5, "staying"));
        let begun = Instant::now();
        let done = shake_hands_during_swaps(&gate, &config);
        let rate = f64::from(done) / begun.elapsed().as_secs_f64();
        println!("{tls}: {done} handshakes during {SWAPS} swaps, {rate:.0} per second");
        staying.expect_nothing();
        let applied = gate.admin().metric("tls_reloads_total{outcome=\"applied\"}");
        assert!(applied as usize >= SWAPS, "{applied}");
        assert_eq!(state(&gate)["generation"], applied);
    }
}

const SWAPS: usize = 20;

/// Clients come and go, none of them in vain; gives how many did.
fn shake_hands_during_swaps(gate: &Gate, config: &Arc<ClientConfig>) -> u32 {
    let (stop, failed, done) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let (stop, failed, done) = (&stop, &failed, &done);
            threads.spawn(move || {
                let id = format!("client {thread}");
                while !stop.load(Ordering::Relaxed) && failed.load(Ordering::Relaxed) == 0 {
                    let outcome =
                        if admitted(gate, config, "127.0.0.1", &id) { done } else { failed };
                    outcome.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 0..SWAPS {
            let before = done.load(Ordering::Relaxed);
            // The key first, so that the broker may come in between and find a pair that does not fit.
            gate.server.issue_server(&gate.path("server"));
            let _ = gate.reload();
            wait_until(&format!("handshakes go on at swap {swap}"), || {
                let is_enough = done.load(Ordering::Relaxed) > before + 50;
                (is_enough || failed.load(Ordering::Relaxed) > 0).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.into_inner(), 0);
    done.into_inner()
}

#[test]
fn a_bad_pair_is_refused_with_the_reason_and_the_old_one_kept() {
    let gate = Yard::lay_out().open(&listener("client_certificates: none"), OPEN);
    let config = fresh(&gate, None);
    let good = fs::read_to_string(gate.path("server.crt")).unwrap();
    let before = state(&gate)["listeners"][0]["certificates"].clone();
    gate.server.issue_server(&gate.path("other"));
    let other = fs::read_to_string(gate.path("other.crt")).unwrap();
    for (content, expected) in [
        (&*other, "listener gate: tls.key: the key does not belong to the certificate"),
        ("garbage", "listener gate: tls.certificate: "),
        ("", "holds no certificate in PEM form"),
        (&good[..good.len() / 2], "listener gate: tls.certificate: "),
    ] {
        replace(&gate.path("server.crt"), content);
        // The broker may have seen it by itself; asked again, it says the same.
        for _ in 0..2 {
            let problem = gate.reload().expect_err("it is refused");
            assert!(problem.contains(expected), "{problem}");
        }
        let state = state(&gate);
        assert!(state["refused"]["problems"][0].as_str().unwrap().contains(expected), "{state}");
        assert_eq!(
            (&state["generation"], &state["listeners"][0]["certificates"]),
            (&0.into(), &before)
        );
        assert!(admitted(&gate, &config, "127.0.0.1", "somebody"));
    }
    gate.broker.wait_for_log("TLS material refused, the old stays in force");
    assert!(gate.admin().metric("tls_reloads_total{outcome=\"refused\"}") >= 8);
    replace(&gate.path("server.crt"), &good);
    assert_eq!(gate.reload(), Ok("unchanged".into()));
    assert_eq!(state(&gate)["refused"], Value::Null);
}

#[test]
fn one_bad_file_keeps_all_others_from_changing() {
    let yard = Yard::lay_out();
    yard.server.issue_server(&yard.path("second"));
    let listeners = format!(
        "[{{name: {LISTENER}, bind: \"tls://127.0.0.1:0\", tls: {{certificate: server.crt, key: server.key}}}},
          {{name: other, bind: \"wss://127.0.0.1:0\", tls: {{certificate: second.crt, key: second.key}}}}]"
    );
    let gate = yard.open(&listeners, OPEN);
    let before = state(&gate)["listeners"].clone();
    replace(&gate.path("second.crt"), "garbage");
    gate.broker.wait_for_log("TLS material refused");
    gate.server.issue_server(&gate.path("server"));
    assert!(gate.reload().unwrap_err().contains("listener other: tls.certificate"));
    assert_eq!(state(&gate)["listeners"], before);
    gate.server.issue_server(&gate.path("second"));
    wait_until("both are in force", || {
        (state(&gate)["generation"].as_u64() >= Some(1)).then_some(())
    });
    for number in 0..2 {
        let certificate = |state: &Value| state[number]["certificates"][0]["fingerprint"].clone();
        assert_ne!(certificate(&state(&gate)["listeners"]), certificate(&before));
    }
}

#[test]
fn a_server_is_whom_the_client_asks_for() {
    let yard = Yard::lay_out();
    for (stem, name) in
        [("acme", "acme.example"), ("globex", "any.globex.example"), ("default", "server.example")]
    {
        yard.server.issue_named_server(&yard.path(stem), name);
    }
    let tls = "certificate: default.crt, key: default.key,
        client_certificates: required, trust_anchors: [{name: devices, file: devices.crt}],
        server_names: [
            {names: [acme.example], certificate: acme.crt, key: acme.key},
            {names: [\"*.globex.example\"], certificate: globex.crt, key: globex.key,
             trust_anchors: [{name: guests, file: guests.crt}]}]";
    let listeners = format!("[{{name: {LISTENER}, bind: \"tls://127.0.0.1:0\", tls: {{{tls}}}}}]");
    let mappings =
        format!("{BY_DEVICES}, {{trust_anchor: guests, tenant: globex, username: \"{{cn}}\"}}");
    let gate = yard.open(&listeners, &mapping(&mappings));
    let device = fresh(&gate, Some(&gate.issue(&gate.devices, "device", 1)));
    let guest = fresh(&gate, Some(&gate.issue(&gate.guests, "guest", 1)));
    // The client believes in a name only where the broker has shown that server's certificate.
    for (server, of_device, of_guest) in [
        ("acme.example", true, false),
        ("any.globex.example", false, true),
        ("server.example", true, false),
        // No scope has these, and the default certificate is not theirs.
        ("globex.example", false, false),
        ("a.any.globex.example", false, false),
        ("127.0.0.1", true, false),
    ] {
        assert_eq!(admitted(&gate, &device, server, "device"), of_device, "{server}");
        assert_eq!(admitted(&gate, &guest, server, "guest"), of_guest, "{server}");
    }
    let names = &state(&gate)["listeners"][0]["certificates"];
    assert_eq!(names[2]["server_names"][0], "*.globex.example");
    assert_eq!(names[2]["trust_anchors"][0]["name"], "guests");
}

#[test]
fn a_key_that_others_can_read_is_used_only_where_that_is_said() {
    let yard = Yard::lay_out();
    fs::set_permissions(yard.path("server.key"), Permissions::from_mode(0o644)).unwrap();
    let problem = yard.check(&listener("open_key: refuse"), OPEN);
    assert!(problem.contains("server.key is open to others (mode 0644)"), "{problem}");
    let gate = yard.open(&listener("open_key: warn"), OPEN);
    gate.broker.wait_for_log("is open to others (mode 0644)");
    assert!(admitted(&gate, &fresh(&gate, None), "127.0.0.1", "somebody"));
}
