//! The life of edge nodes, with payloads made as the schema says.

use hookmq_plugin::test::{self, Bounds, Harness, Host};
use serde_json::{Value as Json, json};

use super::*;

/// A protobuf message under construction.
#[derive(Default, Clone)]
struct Proto(Vec<u8>);

impl Proto {
    fn varint(mut self, number: u8, value: u64) -> Self {
        self.0.push(number << 3);
        self.raw(value)
    }

    fn bytes(mut self, number: u8, value: &[u8]) -> Self {
        self.raw_key(u64::from(number) << 3 | 2);
        self = self.raw(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn fixed(mut self, number: u8, value: &[u8]) -> Self {
        self.0.push(number << 3 | if value.len() == 4 { 5 } else { 1 });
        self.0.extend(value);
        self
    }

    fn raw_key(&mut self, key: u64) {
        *self = std::mem::take(self).raw(key);
    }

    fn raw(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn metric(self, metric: Proto) -> Self {
        self.bytes(2, &metric.0)
    }
}

fn metric(name: &str) -> Proto {
    Proto::default().bytes(1, name.as_bytes())
}

fn bd_seq(number: u64) -> Proto {
    metric("bdSeq").varint(4, 4).varint(11, number)
}

fn birth(seq: u64, bd: u64) -> Proto {
    Proto::default().varint(1, 1_700_000_000_000).varint(3, seq).metric(bd_seq(bd))
}

fn data(seq: u64) -> Proto {
    Proto::default().varint(3, seq).metric(metric("t").varint(4, 3).varint(10, 7))
}

fn guard(config: Json) -> Harness<SparkplugGuard> {
    Harness::new(config).unwrap()
}

fn message(topic: &str, payload: &Proto) -> Message {
    let qos = if topic.contains("/NDEATH/") { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    Message { qos, ..test::message(&format!("spBv1.0/{topic}"), payload.0.clone()) }
}

fn ask(guard: &mut Harness<SparkplugGuard>, topic: &str, payload: &Proto) -> PublishVerdict {
    guard.publish(&test::client("edge"), &message(topic, payload)).unwrap()
}

/// The fault that the guard tags, if any.
fn fault(guard: &mut Harness<SparkplugGuard>, topic: &str, payload: &Proto) -> Option<String> {
    match ask(guard, topic, payload) {
        PublishVerdict::Pass => None,
        PublishVerdict::Replace(patch) => Some(patch.user_properties.unwrap()[0].value.clone()),
        other => panic!("{other:?}"),
    }
}

/// Plays a life; each step is topic, payload and the expected fault.
fn play(steps: &[(&str, Proto, Option<&str>)]) {
    let _host = Host::new();
    let mut guard = guard(json!({"on_fault": "tag"}));
    for (index, (topic, payload, expected)) in steps.iter().enumerate() {
        let found = fault(&mut guard, topic, payload);
        assert_eq!(found.as_deref(), *expected, "step {index}: {topic}");
        guard.replace_instances();
    }
}

#[test]
fn a_whole_life_passes() {
    play(&[
        ("g/NBIRTH/n", birth(0, 0), None),
        ("g/DBIRTH/n/d", data(1), None),
        ("g/NDATA/n", data(2), None),
        ("g/DDATA/n/d", data(3), None),
        ("g/NCMD/n", Proto::default(), None),
        ("g/DCMD/n/d", Proto(b"no payload".to_vec()), None),
        ("STATE/host", Proto(br#"{"online":true}"#.to_vec()), None),
        ("g/DDEATH/n/d", data(4), None),
        ("g/NDEATH/n", Proto::default().metric(bd_seq(0)), None),
        ("g/NBIRTH/n", birth(0, 1), None),
        ("g/NDATA/n", data(1), None),
    ]);
}

#[test]
fn sequence_numbers_wrap_and_a_gap_is_one_fault() {
    play(&[
        ("g/NBIRTH/n", birth(254, 0), None),
        ("g/NDATA/n", data(255), None),
        ("g/NDATA/n", data(0), None),
        ("g/NDATA/n", data(0), Some("sequence")),
        ("g/NDATA/n", data(5), Some("sequence")),
        ("g/NDATA/n", data(6), None),
        ("g/NDATA/n", data(256), Some("sequence")),
        ("g/NDATA/n", Proto::default(), Some("sequence")),
        ("g/NDATA/n", data(7), None),
        ("g/NDATA/other", data(8), Some("unborn")),
        ("h/NDATA/n", data(8), Some("unborn")),
    ]);
}

#[test]
fn nothing_comes_before_the_birth_or_after_the_death() {
    let death = |number| Proto::default().metric(bd_seq(number));
    play(&[
        ("g/NDATA/n", data(0), Some("unborn")),
        ("g/NDEATH/n", death(0), Some("unborn")),
        ("g/NBIRTH/n", birth(0, 3), None),
        ("g/DDATA/n/d", data(1), Some("unborn")),
        ("g/DDEATH/n/d", data(2), Some("unborn")),
        ("g/DBIRTH/n/d", data(3), None),
        ("g/DDATA/n/d", data(4), None),
        ("g/NBIRTH/n", birth(0, 4), None),
        ("g/DDATA/n/d", data(1), Some("unborn")),
        ("g/NDEATH/n", death(3), Some("bd_seq")),
        ("g/NDEATH/n", Proto::default(), Some("bd_seq")),
        ("g/NDATA/n", data(2), None),
        ("g/NDEATH/n", death(4), None),
        ("g/NDATA/n", data(3), Some("unborn")),
        ("g/NBIRTH/n", Proto::default().varint(3, 0), Some("bd_seq")),
        ("g/NBIRTH/n", Proto::default().metric(bd_seq(1)), Some("sequence")),
        ("g/NDATA/n", data(1), Some("unborn")),
    ]);
}

#[test]
fn topics_have_the_structure_of_the_specification() {
    let _host = Host::new();
    let mut guard = guard(json!({"on_fault": "tag"}));
    for topic in [
        "",
        "g",
        "g/NBIRTH",
        "g/NBIRTH/",
        "/NBIRTH/n",
        "g/NBIRTH/n/d",
        "g/DBIRTH/n",
        "g/DBIRTH/n/",
        "g/DBIRTH/n/d/x",
        "g/XDATA/n",
        "g/ndata/n",
        "g/NCMD/n/d",
        "g/DCMD/n",
        "STATE",
        "STATE/",
        "STATE/h/x",
        "g/STATE/n",
    ] {
        let found = fault(&mut guard, topic, &birth(0, 0));
        assert_eq!(found.as_deref(), Some("topic"), "{topic:?}");
    }
    for topic in ["spBv1.1/g/XDATA/n", "other", "x/spBv1.0/g"] {
        let verdict = guard.publish(&test::client("c"), &test::message(topic, "x"));
        assert_eq!(verdict, Ok(PublishVerdict::Pass), "{topic}");
    }
    let bare = guard.publish(&test::client("c"), &test::message("spBv1.0", "x"));
    assert!(matches!(bare, Ok(PublishVerdict::Replace(_))));
}

#[test]
fn reports_are_not_retained_and_of_the_right_qos() {
    let _host = Host::new();
    let mut guard = guard(json!({}));
    let mut ask = |message: Message| guard.publish(&test::client("edge"), &message).unwrap();
    let good = message("g/NBIRTH/n", &birth(0, 0));
    let dropped = PublishVerdict::Drop(0x99);
    assert_eq!(ask(Message { retain: true, ..good.clone() }), dropped);
    assert_eq!(ask(Message { qos: Qos::AtLeastOnce, ..good.clone() }), dropped);
    assert_eq!(ask(good), PublishVerdict::Pass);
    let death = message("g/NDEATH/n", &Proto::default().metric(bd_seq(0)));
    assert_eq!(ask(Message { qos: Qos::AtMostOnce, ..death }), dropped);
}

#[test]
fn faults_are_dropped_tagged_or_counted_as_configured() {
    let host = Host::new();
    let mut guard = guard(json!({"faults": {"unborn": "pass", "payload": "tag"}}));
    assert_eq!(ask(&mut guard, "g/NDATA/n", &data(0)), PublishVerdict::Pass);
    let broken = Proto(vec![0xff]);
    assert_eq!(fault(&mut guard, "g/NDATA/n", &broken).as_deref(), Some("payload"));
    assert_eq!(ask(&mut guard, "g/XDATA/n", &data(0)), PublishVerdict::Drop(0x99));
    for name in ["fault_unborn", "fault_payload", "fault_topic"] {
        assert_eq!(host.counted(name), 1, "{name}");
    }
    let mut forged = message("g/NBIRTH/n", &birth(0, 0));
    let tag = UserProperty { name: TAG.into(), value: "fine".into() };
    forged.properties.as_mut().unwrap().user_properties = vec![tag];
    let verdict = guard.publish(&test::client("edge"), &forged).unwrap();
    let PublishVerdict::Replace(patch) = verdict else { panic!("{verdict:?}") };
    assert_eq!(patch.user_properties.unwrap(), []);
}

#[test]
fn a_full_store_makes_the_guard_strict() {
    let host = Host::new();
    host.set_bounds(Bounds { kv_values: 0, ..Bounds::default() });
    let mut guard = guard(json!(null));
    assert_eq!(ask(&mut guard, "g/NBIRTH/n", &birth(0, 0)), PublishVerdict::Pass);
    assert_eq!(ask(&mut guard, "g/NDATA/n", &data(1)), PublishVerdict::Drop(0x99));
    assert_eq!(host.counted("store_refused"), 1);
}

fn shadows(host: &Host) -> Vec<(String, Json)> {
    let emitted = host.take_emitted().into_iter();
    emitted.map(|e| (e.topic, serde_json::from_slice(&e.payload).unwrap())).collect()
}

#[test]
fn shadows_show_names_and_values() {
    let host = Host::new();
    let mut guard = guard(json!({"shadow": "json"}));
    let minus = |bits: u64| Proto::default().varint(4, 3).varint(10, bits);
    let birth =
        birth(0, 0).metric(Proto([metric("temp").varint(2, 5).0, minus(0xffff_ffff).0].concat()));
    ask(&mut guard, "g/NBIRTH/n", &birth);
    let expected = json!({
        "timestamp": 1_700_000_000_000_u64,
        "seq": 0,
        "metrics": [
            {"name": "bdSeq", "datatype": "Int64", "value": 0},
            {"name": "temp", "datatype": "Int32", "value": -1},
        ],
    });
    assert_eq!(shadows(&host), [("sparkplug-json/g/birth/n".to_owned(), expected)]);

    let data = Proto::default()
        .varint(3, 1)
        .metric(Proto::default().varint(2, 5).varint(10, 8))
        .metric(Proto::default().varint(2, 6).varint(7, 1).varint(5, 1));
    guard.replace_instances();
    ask(&mut guard, "g/NDATA/n", &data);
    let expected = json!({"seq": 1, "metrics": [
        {"name": "temp", "value": 8},
        {"alias": 6, "historical": true, "value": null},
    ]});
    assert_eq!(shadows(&host), [("sparkplug-json/g/data/n".to_owned(), expected)]);

    ask(&mut guard, "g/NDATA/n", &data);
    assert!(shadows(&host).is_empty(), "what is dropped has no shadow");
    assert!(shadows(&host).is_empty());
}

#[test]
fn every_kind_of_value_is_shown() {
    let host = Host::new();
    let mut guard = guard(json!({"shadow": "json", "on_fault": "pass"}));
    let typed = |datatype: u64| metric("m").varint(4, datatype);
    let table = [
        (typed(1).varint(10, 0xff), json!(-1)),
        (typed(2).varint(10, 0xfffe), json!(-2)),
        (typed(3).varint(10, u64::MAX), json!(-1)),
        (typed(4).varint(11, u64::MAX), json!(-1)),
        (typed(5).varint(10, 255), json!(255)),
        (typed(7).varint(10, 0xffff_ffff), json!(0xffff_ffff_u32)),
        (typed(8).varint(11, u64::MAX), json!(u64::MAX)),
        (typed(9).fixed(12, &1.5_f32.to_le_bytes()), json!(1.5)),
        (typed(10).fixed(13, &f64::NAN.to_le_bytes()), json!(null)),
        (typed(10).fixed(13, &2.5_f64.to_le_bytes()), json!(2.5)),
        (typed(11).varint(14, 1), json!(true)),
        (typed(12).bytes(15, "ü".as_bytes()), json!("ü")),
        (typed(17).bytes(16, &[0, 255]), json!("AP8=")),
        (typed(16).bytes(17, &[1, 2, 3]), json!(null)),
        (typed(99).varint(10, 1), json!(1)),
    ];
    for (metric, expected) in table {
        ask(&mut guard, "g/DDATA/n/d", &Proto::default().varint(3, 0).metric(metric));
        let [(topic, shadow)] = &shadows(&host)[..] else { panic!("one shadow") };
        assert_eq!(topic, "sparkplug-json/g/data/n/d");
        assert_eq!(shadow["metrics"][0]["value"], expected, "{shadow}");
    }
}

#[test]
fn payloads_that_are_none_are_faults() {
    let _host = Host::new();
    let mut guard = guard(json!({"on_fault": "tag"}));
    let table: [&[u8]; 12] = [
        &[0x80], // half a varint
        &[0x18], // a key without a value
        &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        &[0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x12, 0x05, 0x0a], // longer than the rest
        &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x1a, 0x01, 0x00],             // seq as bytes
        &[0x12, 0x03, 0x0a, 0x01, 0xff], // a name that is not UTF-8
        &[0x12, 0x02, 0x60, 0x01],       // a float as varint
        &[0x1b],                         // a group
        &[0x00, 0x00],                   // field 0
        &[0x1d, 0x01, 0x02],             // half a fixed32
    ];
    for bytes in table {
        let found = fault(&mut guard, "g/NDATA/n", &Proto(bytes.to_vec()));
        assert_eq!(found.as_deref(), Some("payload"), "{bytes:02x?}");
    }
    let many = (0..20_001).fold(Proto::default(), |payload, _| payload.metric(Proto::default()));
    assert_eq!(fault(&mut guard, "g/NDATA/n", &many).as_deref(), Some("payload"));
    let unknown = Proto::default().varint(3, 0).bytes(15, b"later").fixed(14, &[0; 8]);
    assert_eq!(fault(&mut guard, "g/NDATA/n", &unknown).as_deref(), Some("unborn"));
}

#[test]
fn no_bytes_make_it_panic() {
    let host = Host::new();
    let mut guard = guard(json!({"shadow": "json", "on_fault": "pass"}));
    let payload = birth(0, 0)
        .metric(metric("a").varint(2, 5).varint(4, 3).varint(10, 8))
        .metric(metric("b").fixed(12, &[1; 4]).fixed(13, &[1; 8]).bytes(15, b"x").bytes(17, b"y"));
    for at in 0..payload.0.len() {
        for byte in 0..=255_u8 {
            let mut bytes = payload.0.clone();
            bytes[at] = byte;
            ask(&mut guard, "g/NBIRTH/n", &Proto(bytes));
        }
        ask(&mut guard, "g/NBIRTH/n", &Proto(payload.0[..at].to_vec()));
        host.take_emitted();
    }
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    for (config, expected) in [
        (json!({"on_faults": "drop"}), "unknown field"),
        (json!({"on_fault": "explode"}), "unknown variant `explode`"),
        (json!({"faults": {"colour": "drop"}}), "unknown variant `colour`"),
        (json!({"shadow": "xml"}), "unknown variant `xml`"),
    ] {
        let error = Harness::<SparkplugGuard>::new(&config).err().unwrap();
        assert!(error.contains(expected), "{config}: {error}");
    }
}
