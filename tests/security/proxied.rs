//! Certificates that a proxy has verified: when they count, and never as the broker's own.

use std::io::Write;

use hookmq_codec::ProtocolVersion;
use hookmq_tests::certificates::Validity;
use hookmq_tests::client::{Client, connect};
use hookmq_tests::gate::{self, BY_DEVICES, Gate, LISTENER, Yard, mapping};
use hookmq_tests::wire::tcp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const BY_EDGE: &str = "{trust_anchor: edge, vouched_by: proxy, tenant: acme, username: \"{cn}\"}";

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

/// PP2_TYPE_SSL with the bits of `client`, what verification came to, and a common name.
fn ssl(client: u8, verified: u32, name: &[u8]) -> Vec<u8> {
    ssl_of(client, verified, &[field(0x21, b"TLSv1.3"), field(0x22, name)])
}

fn ssl_of(client: u8, verified: u32, fields: &[Vec<u8>]) -> Vec<u8> {
    field(0x20, &[&[client], &verified.to_be_bytes()[..], &fields.concat()].concat())
}

/// PP2_SUBTYPE_SSL_CLIENT_CERT.
fn whole(gate: &Gate, name: &str, validity: Validity) -> Vec<u8> {
    gate.devices.issue_device(gate.broker.directory(), "acme", name, validity);
    let pem = CertificateDer::from_pem_file(gate.path(&format!("{name}.crt")));
    field(0x28, &pem.expect("read a certificate"))
}

fn header(fields: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x07, 0x5b];
    let length = (addresses.len() + fields.len()) as u16;
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    [&signature[..], &length.to_be_bytes(), &addresses, fields].concat()
}

fn through_proxy(
    gate: &Gate,
    version: ProtocolVersion,
    fields: &[u8],
) -> Result<Client, Option<u8>> {
    let mut stream = tcp(gate.broker.address(LISTENER));
    stream.write_all(&header(fields)).expect("send the header");
    gate::admitted(stream, connect(version, "client"))
}

fn listener(keys: &str) -> String {
    format!(
        "[{{name: {LISTENER}, bind: \"tcp://127.0.0.1:0\",
           proxy_protocol: {{trusted: [127.0.0.1]{keys}}}}}]"
    )
}

#[test]
fn a_proxy_vouches_for_certificates_where_it_may() {
    let gate = Yard::lay_out().open(&listener(", trust_anchor: edge"), &mapping(BY_EDGE));
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let _client = through_proxy(&gate, version, &ssl(7, 0, b"pump")).expect("it is verified");
        assert_eq!(gate.username("client"), "pump");
        for (fields, why) in [
            (ssl(7, 1, b"pump"), "the proxy has not verified it"),
            (ssl(1, 0, b"pump"), "it has shown none"),
            (ssl(6, 0, b"pump"), "it does not come over TLS"),
            (vec![], "nothing is said"),
            (ssl(7, 0, b"*"), "a wildcard"),
            (ssl(7, 0, b"pump\0"), "NUL"),
            ([ssl(7, 0, b"pump"), ssl(7, 0, b"valve")].concat(), "two of them"),
            (ssl(7, 0, b"pump")[..12].to_vec(), "cut short"),
        ] {
            assert!(through_proxy(&gate, version, &fields).is_err(), "{why}");
        }
    }
}

/// What a common name does not say is read in the certificate.
#[test]
fn a_proxy_hands_the_whole_certificate_on() {
    let by_uri = "{trust_anchor: edge, vouched_by: proxy, tenant: \"{o}\", tenants: [acme],
        username: \"{san_uri}\"}";
    let gate = Yard::lay_out().open(&listener(", trust_anchor: edge"), &mapping(by_uri));
    let pump = whole(&gate, "pump", Validity::Current);
    let (old, name) = (whole(&gate, "old", Validity::Expired), field(0x22, b"pump"));
    let tls = field(0x21, b"TLSv1.3");
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        for fields in [vec![pump.clone()], vec![tls.clone(), name.clone(), pump.clone()]] {
            let client = through_proxy(&gate, version, &ssl_of(7, 0, &fields));
            let _client = client.expect("it is verified");
            assert_eq!(gate.username("client"), "urn:hookmq:device:acme/pump");
        }
        let cut = field(0x28, &pump[3..pump.len() - 40]);
        let longer = field(0x28, &[&pump[3..], b"more"].concat());
        for (fields, why) in [
            (ssl_of(7, 0, std::slice::from_ref(&name)), "a name has no such field"),
            (ssl_of(7, 1, std::slice::from_ref(&pump)), "the proxy has not verified it"),
            (ssl_of(1, 0, std::slice::from_ref(&pump)), "it has shown none"),
            (ssl_of(7, 0, &[field(0x22, b"valve"), pump.clone()]), "two names"),
            (ssl_of(7, 0, &[pump.clone(), pump.clone()]), "two of them"),
            (ssl_of(7, 0, std::slice::from_ref(&old)), "it has expired"),
            (ssl_of(7, 0, &[cut]), "half of one"),
            (ssl_of(7, 0, &[longer]), "something behind it"),
            (ssl_of(7, 0, &[field(0x28, b"")]), "an empty one"),
        ] {
            assert!(through_proxy(&gate, version, &fields).is_err(), "{why}");
        }
    }
}

#[test]
fn what_a_proxy_says_is_not_believed_where_it_only_tells_addresses() {
    let rule = "fn connect(client) {
            if client.certificate == () { return accept(#{tenant: \"acme\", username: \"nobody\"}); }
            let voucher = if client.certificate.vouched_by_proxy { \"proxy\" } else { \"tls\" };
            accept(#{tenant: \"acme\", username: voucher + \" \" + client.certificate.trust_anchor})
        }
        fn test_nobody() { assert(run_connect(test_connect(#{})).accepted, \"nobody\"); }";
    for (keys, expected) in [("", "nobody"), (", trust_anchor: edge", "proxy edge")] {
        let yard = Yard::lay_out();
        std::fs::create_dir(yard.path("rules")).expect("make a folder");
        std::fs::write(yard.path("rules/who.rhai"), rule).expect("write the rule");
        let gate = yard.open(&listener(keys), "[{rule: who}]");
        let client = through_proxy(&gate, ProtocolVersion::V5, &ssl(7, 0, b"pump"));
        let _client = client.expect("everybody is admitted");
        assert_eq!(gate.username("client"), expected);
    }
}

#[test]
fn a_mapping_of_handshakes_takes_nothing_from_proxies() {
    let yard = Yard::lay_out();
    let problem = yard.check(&listener(", trust_anchor: devices"), &mapping(BY_DEVICES));
    assert!(
        problem.contains("no listener of this step has \"devices\" in tls.trust_anchors"),
        "{problem}"
    );
    // Without a pin it is for the broker's own handshakes still.
    let unpinned = mapping("{tenant: acme, username: \"{cn}\"}");
    let gate = yard.open(&listener(", trust_anchor: devices"), &unpinned);
    let refused = through_proxy(&gate, ProtocolVersion::V5, &ssl(7, 0, b"pump"));
    assert_eq!(refused.err(), Some(Some(0x87)));
    gate.broker.wait_for_log("vouches for by a proxy");
}

#[test]
fn an_anchor_is_a_proxys_or_the_brokers_own() {
    let yard = Yard::lay_out();
    let listener = "[{name: gate, bind: \"tls://127.0.0.1:0\",
        tls: {certificate: server.crt, key: server.key, client_certificates: optional,
              trust_anchors: [{name: devices, file: devices.crt}]},
        proxy_protocol: {trusted: [127.0.0.1], trust_anchor: devices}}]";
    let problem = yard.check(listener, &mapping(BY_DEVICES));
    assert!(
        problem.contains("proxy_protocol.trust_anchor: \"devices\" is a trust anchor of"),
        "{problem}"
    );
}
