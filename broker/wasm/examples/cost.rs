//! throw-away
use hookmq_codec::*;
use hookmq_core::*;
use hookmq_hooks::*;
use hookmq_wasm::*;
use std::sync::Arc;
use std::time::Instant;
fn cpu() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
fn main() {
    let dir = std::env::var("HOOKMQ_PLUGINS_DIR").unwrap();
    let t = Instant::now();
    let host = PluginHost::new(HostOptions::default()).unwrap();
    println!("host {:?}", t.elapsed());
    let client = Arc::new(Client {
        tenant: "acme".into(),
        username: "meter-7".into(),
        client_id: "c1-0123456789".into(),
        client_id_bound: true,
        roles: Default::default(),
        attributes: Default::default(),
        connection: ConnectionFacts {
            listener: "main".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        attachments: Default::default(),
    });
    let msg = |p: &[u8]| {
        Message::new(NewMessage {
            topic: TopicName::new("plant/1/temperature").unwrap(),
            forwarded_properties: &[],
            payload: p,
            qos: Qos::AtMostOnce,
            retain: false,
            expires_at: None,
            publisher: 0,
        })
    };
    let json64 = br#"{"t":653,"id":"sensor-0123456789","unit":"C","seq":123456789012}"#;
    assert_eq!(json64.len(), 64);
    for (name, cfg, payload) in [
        ("fixtures/hostile", "null", &[b'x'; 64][..]),
        ("fixtures/hostile", "null", &[b'x'; 1024][..]),
        ("fixtures/counter", "null", &[b'x'; 64][..]),
        ("fixtures/stamp-v1", "null", &json64[..]),
        ("json-transform", r#"{"operations":[{"op":"remove","field":"zz"}]}"#, &json64[..]),
        (
            "json-transform",
            r#"{"operations":[{"op":"rename","from":"t","to":"temperature"},{"op":"scale","field":"temperature","factor":0.1,"digits":1},{"op":"timestamp","field":"at"}]}"#,
            &json64[..],
        ),
    ] {
        let bytes = std::fs::read(format!("{dir}/{name}.wasm")).unwrap();
        let t = Instant::now();
        let grants = Grants { log: true, clock: true, emit: vec![TopicFilter::new("#").unwrap()] };
        let p = host
            .load(
                &bytes,
                PluginSettings {
                    config: serde_json::from_str(cfg).unwrap(),
                    grants,
                    ..Default::default()
                },
            )
            .unwrap();
        let load = t.elapsed();
        let m = msg(payload);
        let t = Instant::now();
        p.publish(&client, &m).unwrap();
        let first = t.elapsed();
        let mut best = f64::MAX;
        let (l0, _) = (cpu(), 0);
        let _ = l0;
        for _ in 0..5 {
            let n = 90_000;
            let t = cpu();
            for _ in 0..n {
                std::hint::black_box(p.publish(&client, &m).unwrap());
            }
            best = best.min((cpu() - t) as f64 / n as f64);
        }
        println!(
            "{name} {} bytes: load {load:?}, first call {first:?}, {best:.0} ns per call",
            payload.len()
        );
    }
}
