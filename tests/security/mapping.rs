//! Odd certificates, and whom each way to read them makes of their holders.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use hookmq_codec::{Connect, ProtocolVersion};
use hookmq_tests::certificates::Authority;
use hookmq_tests::certificates::odd::{
    BMP, CN, DNS, EMAIL, IP, O, OU, Odd, PRINTABLE, Part, TELETEX, URI, UTF8,
};
use hookmq_tests::client::connect;
use hookmq_tests::gate::{BY_DEVICES, Gate, Yard, listener, mapping};

/// Ways to read a certificate: a listener of this name, and the username's template there.
const MODES: [(&str, &str); 8] = [
    ("cn", "{cn}"),
    ("subject", "{subject}"),
    ("dns", "{san_dns}"),
    ("uri", "{san_uri}"),
    ("email", "{san_email}"),
    ("ip", "{san_ip}"),
    ("serial", "{serial}"),
    ("fingerprint", "{fingerprint}"),
];

/// The tenant is the organization, and only `acme` may be.
const TENANT: &str = "tenant";

/// Who has signed.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Devices,
    /// Trusted, but no mapping is for it.
    Guests,
    /// Not trusted, and named like the devices' authority.
    Rogue,
}

/// A certificate and the modes that find somebody in it.
struct Case {
    what: &'static str,
    odd: Odd,
    by: By,
    found: Vec<(&'static str, String)>,
    /// Whether serial number and fingerprint say who it is.
    by_number: bool,
}

/// Whose names mean nothing, or several things.
fn case(what: &'static str, odd: Odd, found: &[(&'static str, &str)]) -> Case {
    let found = found.iter().map(|(mode, name)| (*mode, (*name).to_owned())).collect();
    Case { what, odd, by: By::Devices, found, by_number: true }
}

/// Who is let in by nobody.
fn refused(what: &'static str, odd: Odd) -> Case {
    Case { by_number: false, ..case(what, odd, &[]) }
}

fn cn(name: &str) -> Odd {
    Odd::subject(&[(CN, name)])
}

/// A common name of any type.
fn raw(tag: u8, bytes: &[u8]) -> Odd {
    Odd { subject: vec![vec![(CN, tag, bytes.to_vec())]], ..Odd::default() }
}

/// One relative name of several parts.
fn together(parts: &[(&'static [u8], &str)]) -> Odd {
    let part =
        |(kind, text): &(&'static [u8], &str)| -> Part { (kind, UTF8, text.as_bytes().to_vec()) };
    Odd { subject: vec![parts.iter().map(part).collect()], ..Odd::default() }
}

fn of_names() -> Vec<Case> {
    let longest = "x".repeat(256);
    let wide: Vec<u8> = "pump".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let units = vec!["y".repeat(100); 100];
    let mut long_subject: Vec<_> = units.iter().map(|unit| (OU, &**unit)).collect();
    long_subject.push((CN, "pump"));
    vec![
        case("a plain name", cn("pump-7"), &[("cn", "pump-7"), ("subject", "CN=pump-7")]),
        case("two names", Odd::subject(&[(CN, "a"), (CN, "b")]), &[("subject", "CN=b,CN=a")]),
        case("one name twice", Odd::subject(&[(CN, "a"), (CN, "a")]), &[("subject", "CN=a,CN=a")]),
        case("a name beside a unit", together(&[(CN, "a"), (OU, "b")]), &[("cn", "a")]),
        case("a name beside another", together(&[(CN, "a"), (CN, "b")]), &[]),
        case("no names at all", Odd::default(), &[]),
        case("an empty name", cn(""), &[("subject", "CN=")]),
        case("a unit only", Odd::subject(&[(OU, "pumps")]), &[("subject", "OU=pumps")]),
        refused("NUL in the name", cn("pump\0.evil")),
        refused("a line's end in the name", cn("pump\nadmin")),
        refused("an escape in the name", cn("\u{1b}[2Jpump")),
        refused("bytes that are no UTF-8", raw(UTF8, b"pump\xff")),
        refused("half a surrogate pair", raw(BMP, b"\xd8\0\0p")),
        refused("T.61 beyond ASCII", raw(TELETEX, b"pump\xe4")),
        case("a wide name", raw(BMP, &wide), &[("cn", "pump"), ("subject", "CN=pump")]),
        case("a printable name", raw(PRINTABLE, b"p"), &[("cn", "p"), ("subject", "CN=p")]),
        case("a wildcard", cn("*"), &[]),
        case("a wildcard name", cn("*.acme.example"), &[]),
        case("a topic filter", cn("pump/+/7"), &[]),
        case("a filter of everything", cn("#"), &[]),
        case("a space before", cn(" pump"), &[("subject", r"CN=\ pump")]),
        case("a character without a width", cn("pump\u{200b}7"), &[]),
        case("a name from right to left", cn("\u{202e}7-pmup"), &[]),
        case("wide look-alikes", cn("ｐump"), &[]),
        case("an accent by itself", cn("pu\u{308}mp"), &[]),
        case("an accent", cn("pümp"), &[("cn", "pümp"), ("subject", "CN=pümp")]),
        case("a path", cn("a/b"), &[("cn", "a/b"), ("subject", "CN=a/b")]),
        case("the longest name", cn(&longest), &[("cn", &longest)]),
        case("a name that is too long", cn(&format!("{longest}x")), &[]),
        refused("a name of 10 kB", cn(&"x".repeat(10_000))),
        case("a subject of 10 kB", Odd::subject(&long_subject), &[("cn", "pump")]),
    ]
}

fn of_alternative_names() -> Vec<Case> {
    let with = |names: &[(u8, &[u8])]| Odd::default().named(names);
    let all: [(u8, &[u8]); 4] = [
        (DNS, b"pump.example"),
        (URI, b"urn:pump:7"),
        (EMAIL, b"p@x.example"),
        (IP, &[10, 0, 0, 7]),
    ];
    let found = [
        ("dns", "pump.example"),
        ("uri", "urn:pump:7"),
        ("email", "p@x.example"),
        ("ip", "10.0.0.7"),
    ];
    let ipv6: &[u8] = &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    vec![
        case("one of each", with(&all), &found),
        case("two servers", with(&[(DNS, b"a.example"), (DNS, b"b.example")]), &[]),
        case("two URIs", with(&[(URI, b"urn:a"), (URI, b"urn:b"), all[0]]), &found[..1]),
        case("two addresses", with(&[all[3], (IP, ipv6), all[1]]), &found[1..2]),
        case("a server with a wildcard", with(&[(DNS, b"*.example")]), &[]),
        case("an empty server", with(&[(DNS, b""), all[1]]), &found[1..2]),
        case("an address with a plus", with(&[(EMAIL, b"a+b@x.example")]), &[]),
        case("a long URI", with(&[(URI, &[b'u'; 300])]), &[]),
        case("IPv6", with(&[(IP, ipv6)]), &[("ip", "2001:db8::7")]),
        refused("an address of 5 bytes", with(&[(IP, &[1; 5])])),
        refused("NUL in a server", with(&[(DNS, b"pump\0.example")])),
        refused("UTF-8 in a server", with(&[(DNS, "pümp.example".as_bytes())])),
        refused("a server of 10 kB", with(&[(DNS, &[b'x'; 10_000])])),
    ]
}

fn of_other_fields() -> Vec<Case> {
    let acme = || Odd::subject(&[(O, "acme"), (CN, "pump")]);
    let own = [("cn", "pump"), ("subject", "CN=pump,O=acme"), (TENANT, "pump")];
    let others = Odd::subject(&[(O, "globex"), (CN, "pump")]);
    let both = Odd::subject(&[(O, "acme"), (O, "globex"), (CN, "pump")]);
    let serial = vec![0x7f; 20];
    vec![
        case("its own tenant", acme(), &own),
        case("another tenant", others, &[("cn", "pump"), ("subject", "CN=pump,O=globex")]),
        case("two tenants", both, &[("cn", "pump"), ("subject", "CN=pump,O=globex,O=acme")]),
        case("a long serial number", Odd { serial, ..acme() }, &own),
        Case { by: By::Guests, ..refused("another anchor", acme()) },
        Case { by: By::Rogue, ..refused("nobody's authority", acme()) },
        refused("an expired one", Odd { not_after: "20210101000000Z", ..acme() }),
        refused("an early one", Odd { not_before: "21000101000000Z", ..acme() }),
        refused("another issuer's name", Odd { foreign_issuer: true, ..acme() }),
        refused("a forged signature", Odd { forged: true, ..acme() }),
        refused("bytes behind its end", Odd { behind: vec![0], ..acme() }),
    ]
}

/// A listener and a step for each mode. Every listener trusts both authorities.
fn open() -> Gate {
    let anchors = "client_certificates: required, trust_anchors:
        [{name: guests, file: guests.crt}, {name: devices, file: devices.crt}]";
    let tenant = (TENANT, "{cn}");
    let (mut listeners, mut steps) = (Vec::new(), Vec::new());
    for (mode, template) in MODES.into_iter().chain([tenant]) {
        let of = if mode == TENANT { "\"{o}\", tenants: [acme]" } else { "acme" };
        listeners.push(format!(
            "{{name: {mode}, bind: \"tls://127.0.0.1:0\",
               tls: {{certificate: server.crt, key: server.key, {anchors}}}}}"
        ));
        steps.push(format!(
            "{{builtin: certificate, listeners: [{mode}], config: {{mappings:
               [{{trust_anchor: devices, tenant: {of}, username: \"{template}\"}}]}}}}"
        ));
    }
    Yard::lay_out().open(&format!("[{}]", listeners.join(", ")), &format!("[{}]", steps.join(", ")))
}

#[test]
fn each_way_to_read_a_certificate_finds_one_name_or_nobody() {
    let gate = open();
    let rogue = Authority::new("devices");
    let cases = of_names().into_iter().chain(of_alternative_names()).chain(of_other_fields());
    for (number, case) in cases.enumerate() {
        let stem = gate.path(&format!("odd-{number}"));
        let authority = match case.by {
            By::Devices => &gate.devices,
            By::Guests => &gate.guests,
            By::Rogue => &rogue,
        };
        let der = authority.issue_odd(&stem, &case.odd);
        let mut expected: BTreeMap<_, _> = case.found.into_iter().collect();
        if case.by_number {
            let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
            expected.insert("serial", hex(&case.odd.serial));
            expected.insert("fingerprint", hex(digest(&SHA256, &der).as_ref()));
        }
        let mut found = BTreeMap::new();
        for mode in MODES.map(|(mode, _)| mode).into_iter().chain([TENANT]) {
            let version = if number % 2 == 0 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
            let client = gate.try_at(mode, Some(&stem), connect(version, mode));
            if client.is_ok() {
                found.insert(mode, gate.username(mode));
            }
        }
        assert_eq!(found, expected, "{}", case.what);
    }
}

#[test]
fn a_user_name_that_contradicts_the_certificate_is_refused_unless_that_is_meant() {
    let tls = "client_certificates: required, trust_anchors: [{name: devices, file: devices.crt}]";
    for (conflict, welcome) in [("refuse", false), ("ignore", true)] {
        let step = format!(
            "[{{builtin: certificate,
                config: {{username_conflict: {conflict}, mappings: [{BY_DEVICES}]}}}}]"
        );
        let gate = Yard::lay_out().open(&listener(tls), &step);
        let identity = gate.issue(&gate.devices, "pump", 1);
        for (version, code) in [(ProtocolVersion::V311, 4), (ProtocolVersion::V5, 0x86)] {
            let named = |username| Connect { username, ..connect(version, "client") };
            let at = |username| gate.try_at("gate", Some(&identity), named(username));
            for username in [None, Some("pump")] {
                let _client = at(username).expect("it is who its certificate says");
                assert_eq!(gate.username("client"), "pump");
            }
            for username in ["", "Pump", "admin"] {
                let client = at(Some(username));
                match welcome {
                    true => assert_eq!(gate.username("client"), "pump"),
                    false => assert_eq!(client.err(), Some(Some(code)), "{username:?}"),
                }
            }
        }
    }
}

#[test]
fn a_mapping_says_whose_certificates_it_means() {
    let yard = Yard::lay_out();
    let one = listener(
        "client_certificates: required, trust_anchors: [{name: devices, file: devices.crt}]",
    );
    let two = listener(
        "client_certificates: required, trust_anchors:
           [{name: devices, file: devices.crt}, {name: guests, file: guests.crt}]",
    );
    let by_name = listener(
        "client_certificates: required, trust_anchors: [{name: devices, file: devices.crt}],
           server_names: [{names: [a.example], trust_anchors: [{name: guests, file: guests.crt}]}]",
    );
    let unpinned = "{tenant: acme, username: \"{cn}\"}";
    let by_issuer = "{issuer: CN=devices, tenant: acme, username: \"{cn}\"}";
    let mistaken = "{trust_anchor: devises, tenant: acme, username: \"{cn}\"}";
    let key = "pipeline.connect[0].config.mappings[0].trust_anchor: ";
    for (listener, mapped, expected) in [
        (&one, unpinned, ""),
        (&one, BY_DEVICES, ""),
        (&two, BY_DEVICES, ""),
        (&two, unpinned, "the listener gate trusts more than one anchor"),
        (&two, by_issuer, "the listener gate trusts more than one anchor"),
        (&by_name, unpinned, "the listener gate trusts more than one anchor"),
        (&two, mistaken, "no listener of this step has \"devises\" in tls.trust_anchors"),
    ] {
        let problem = yard.check(listener, &mapping(mapped));
        match expected {
            "" => assert_eq!(problem, ""),
            _ => assert!(problem.contains(&format!("{key}{expected}")), "{mapped}: {problem}"),
        }
    }
    let nobody = yard.check(&one, "[{builtin: certificate}]");
    assert!(nobody.contains("pipeline.connect[0].config: without `mappings`"), "{nobody}");
}

#[test]
fn strangers_come_from_afar_only_where_that_is_said() {
    let yard = Yard::lay_out();
    let listener = |more: &str| {
        format!(
            "[{{name: gate, bind: \"tls://0.0.0.0:0\",
               tls: {{certificate: server.crt, key: server.key}}{more}}}]"
        )
    };
    let problem = yard.check(&listener(""), "[{builtin: anonymous}]");
    assert!(
        problem.contains("pipeline.connect[0]: it lets everybody in at tls://0.0.0.0:0"),
        "{problem}"
    );
    let meant = yard.check(&listener(", allow_public_anonymous: true"), "[{builtin: anonymous}]");
    assert_eq!(meant, "");
}
