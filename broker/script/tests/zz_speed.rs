use std::sync::Arc; use std::time::Instant;
use hookmq_codec::*; use hookmq_core::*; use hookmq_hooks::*; use hookmq_script::*;
fn msg(p:&str)->Message{ Message::new(NewMessage{topic:TopicName::new("devices/pump-7/telemetry").unwrap(),forwarded_properties:&[],payload:p.as_bytes(),qos:Qos::AtMostOnce,retain:false,expires_at:None,publisher:1})}
#[test] fn speed(){
 let e=RuleEngine::new(RuleLimits::default());
 let client=Arc::new(Client{tenant:"t".into(),username:"u".into(),client_id:"c".into(),client_id_bound:true,roles:Default::default(),attributes:Default::default(),attachments:Default::default(),connection:ConnectionFacts{listener:"l".into(),peer:None,protocol:ProtocolVersion::V5,encrypted:false},certificate:None});
 let m=msg(r#"{"temperature":21.5,"humidity":40,"id":"pump-7"}"#);
 for (n,s) in [("empty","fn publish(client, message) { }"),("topic","fn publish(client, message) { if message.qos > 1 { return drop(); } }"),("field","fn publish(client, message) { if message.json.temperature > 80 { return drop(); } }"),("role","fn publish(client, message) { if client.has_role(\"x\") { return drop(); } }"),("set","fn publish(client, message) { message.json.temperature = 3; }"),("alarm",include_str!("../../../rules/threshold_alarm.rhai"))]{
  let r=e.load("a.rhai",s).unwrap();
  for _ in 0..2000 { r.publish(&client,&m).unwrap(); }
  let mut best=u128::MAX;
  for _ in 0..10 { let t=Instant::now(); for _ in 0..20000 { std::hint::black_box(r.publish(&client,&m).unwrap()); } best=best.min(t.elapsed().as_nanos()/20000);} 
  println!("{n}: {best} ns");
 }
}
