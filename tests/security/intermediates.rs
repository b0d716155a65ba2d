//! Certificates with intermediates: a chain counts as a whole or not at all.

use std::path::PathBuf;

use hookmq_codec::{ProtocolVersion, ReasonCode};
use hookmq_tests::certificates::{Authority, EXPIRED_IN};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::gate::{BY_DEVICES, Gate, LISTENER, LONG, Yard, later, listener, mapping};
use hookmq_tests::websocket::WebSocket;
use hookmq_tests::wire::{tcp, tls_config, tls_with};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};

const TLS: &str = "client_certificates: required, trust_anchors: [{name: devices, file: root.crt}]";

const WITH_LIST: &str = "client_certificates: required,
    trust_anchors: [{name: devices, file: root.crt, crl: {file: root.crl}}]";

/// A broker that trusts `root`.
fn gate(root: &Authority, tls: &str) -> Gate {
    let yard = Yard::lay_out();
    root.save(&yard.path("root.crt"));
    yard.open_with(tls)
}

/// A client's certificate, with its chain.
fn issue(gate: &Gate, authority: &Authority, name: &str) -> PathBuf {
    gate.issue(authority, name, 1)
}

/// Takes what stands at `place` out of the file, the leaf's being 0; gives what is left.
fn without(gate: &Gate, identity: PathBuf, place: usize, name: &str) -> PathBuf {
    const END: &str = "-----END CERTIFICATE-----\n";
    let file = identity.with_extension("crt");
    let chain = std::fs::read_to_string(&file).expect("read a chain").replace("\r\n", "\n");
    let mut parts: Vec<&str> = chain.split_inclusive(END).collect();
    parts.remove(place);
    let stem = gate.path(name);
    std::fs::write(stem.with_extension("crt"), parts.concat()).expect("write a chain");
    std::fs::copy(identity.with_extension("key"), stem.with_extension("key")).expect("copy a key");
    stem
}

#[test]
fn a_chain_is_verified_from_end_to_end() {
    let root = Authority::root("root");
    let gate = gate(&root, TLS);
    let below = |change: fn(&mut CertificateParams)| root.below("plant", change);
    let plant = below(|_| ());
    let hall = plant.below("hall", |_| ());
    let of_any_use = below(|it| it.key_usages.clear());
    for (name, authority) in
        [("one", &plant), ("two", &hall), ("none", &root), ("silent", &of_any_use)]
    {
        let identity = issue(&gate, authority, name);
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            let _client = gate.client(version, &identity, name);
            assert_eq!(gate.username(name), name);
        }
    }

    let narrow = root.below("narrow", |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let refused = [
        ("expired", below(|it| it.not_after = date_time_ymd(EXPIRED_IN, 1, 1))),
        ("early", below(|it| it.not_before = date_time_ymd(2119, 1, 1))),
        ("no authority", below(|it| it.is_ca = IsCa::ExplicitNoCa)),
        ("silent about it", below(|it| it.is_ca = IsCa::NoCa)),
        ("below a last one", narrow.below("hall", |_| ())),
        (
            "for servers",
            below(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("not to sign", below(|it| it.key_usages = vec![KeyUsagePurpose::CrlSign])),
        ("of the same name", Authority::root("root").below("plant", |_| ())),
    ];
    for (number, (what, authority)) in refused.iter().enumerate() {
        let identity = issue(&gate, authority, &format!("refused-{number}"));
        let answer = gate.try_client(ProtocolVersion::V5, Some(&identity), "pump").err();
        assert_eq!(answer, Some(None), "an intermediate: {what}");
    }
    gate.broker.wait_for_log("a certificate behind it must not sign others, by its key usage");

    let identity = issue(&gate, &hall, "whole");
    for (place, what) in [(1, "the nearest"), (2, "the farthest")] {
        let cut = without(&gate, identity.clone(), place, &format!("cut-{place}"));
        let answer = gate.try_client(ProtocolVersion::V5, Some(&cut), "pump").err();
        assert_eq!(answer, Some(None), "without {what} of the intermediates");
    }
}

/// Whichever of them a chain needs: nobody says.
#[test]
fn what_comes_along_and_is_no_authority_refuses_a_client() {
    let root = Authority::root("root");
    let gate = gate(&root, TLS);
    let identity = issue(&gate, &root, "pump");
    let own = std::fs::read_to_string(identity.with_extension("crt")).expect("read a certificate");
    let with = |name: &str, other: &str| {
        let stem = gate.path(name);
        std::fs::write(stem.with_extension("crt"), format!("{own}{other}")).expect("write a chain");
        std::fs::copy(identity.with_extension("key"), stem.with_extension("key")).expect("copy");
        gate.try_client(ProtocolVersion::V5, Some(&stem), name).err()
    };
    assert_eq!(with("twice", &own), None, "the client's own certificate again");
    let device = issue(&gate, &root, "device").with_extension("crt");
    let device = std::fs::read_to_string(device).expect("read a certificate");
    assert_eq!(with("beside", &device), Some(None), "another client's");
}

#[test]
fn an_intermediate_may_be_the_anchor() {
    let root = Authority::root("root");
    let plant = root.below("plant", |_| ());
    let other = root.below("other", |_| ());
    let gate = gate(&plant, TLS);
    gate.client(ProtocolVersion::V5, &issue(&gate, &plant, "pump"), "pump");
    for (name, authority) in [("of the root", &root), ("of another", &other)] {
        let identity = gate.path("stranger");
        authority.issue_client(&identity, "stranger", 1, LONG);
        let answer = gate.try_client(ProtocolVersion::V5, Some(&identity), "stranger").err();
        assert_eq!(answer, Some(None), "{name}");
    }
}

/// What the root revokes is everything below it. The clients come by WebSocket, to whom all that is
/// said of certificates applies as well.
#[test]
fn a_revoked_intermediate_takes_its_clients_along() {
    let root = Authority::root("root");
    let [plant, other] = [(2, "plant"), (3, "other")]
        .map(|(serial, name)| root.below(name, |it| it.serial_number = Some(vec![serial].into())));
    let yard = Yard::lay_out();
    root.save(&yard.path("root.crt"));
    let lists = |serials: &[u8]| {
        let mut all = String::new();
        for (authority, serials) in [(&root, serials), (&plant, &[][..]), (&other, &[][..])] {
            authority.revoke(&yard.path("one.crl"), serials, later());
            all += &std::fs::read_to_string(yard.path("one.crl")).expect("read a list");
        }
        all
    };
    let (none, revoked) = (lists(&[]), lists(&[2]));
    std::fs::write(yard.path("root.crl"), none).expect("write lists");
    let web = listener(WITH_LIST).replace("tls://", "wss://");
    let gate = yard.open(&web, &mapping(BY_DEVICES));
    let client = |authority: &Authority, name: &str| {
        let identity = issue(&gate, authority, name);
        let config = tls_config(&gate.path("server-ca.crt"), Some(&identity));
        let stream = tls_with(tcp(gate.broker.address(LISTENER)), &config, "127.0.0.1");
        let stream = WebSocket::open(stream.expect("a handshake"));
        let version = ProtocolVersion::V5;
        Client::over(stream, version).admitted(connect(version, name))
    };
    let mut lost = client(&plant, "lost");
    let mut kept = client(&other, "kept");
    hookmq_tests::certificates::replace(&gate.path("root.crl"), &revoked);
    lost.expect_disconnected(ReasonCode::AdministrativeAction);
    kept.expect_nothing();
}
