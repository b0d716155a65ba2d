use std::sync::Arc;
use hookmq::broker::{Broker, limits::Limits};
use hookmq_access::*; use hookmq_hooks::*; use hookmq_codec::ProtocolVersion;
#[global_allocator] static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[tokio::main(worker_threads = 2)]
async fn main() {
    let port: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    let step = |n: &str| StepSpec { program: ProgramName { kind: ProgramKind::Builtin, name: n.into() }, condition: Condition::default(), control: Control::Required, on_failure: FailurePolicy::Drop, settings: serde_json::Value::Null };
    let bp = Blueprint { connect: vec![step("anonymous")], authorize: vec![step("open")], publish: vec![], deliver: vec![] };
    let anon: Arc<dyn Program> = Arc::new(AnonymousProgram::new(serde_json::from_value(serde_json::json!({"tenant":"default","username":"anonymous"})).unwrap()));
    let open: Arc<dyn Program> = Arc::new(OpenProgram::default());
    let p = Pipeline::assemble(1, &bp, |h, _| if h == Hook::Connect { anon.clone() } else { open.clone() }).unwrap();
    let b = Broker::new(p, Limits::default(), Arc::new(hookmq_store::MemoryStore::default()), None);
    let l = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (s, peer) = l.accept().await.unwrap();
        s.set_nodelay(true).unwrap();
        let facts = ConnectionFacts { listener: "x".into(), peer: Some(peer), protocol: ProtocolVersion::V311, encrypted: false };
        let b = b.clone();
        tokio::spawn(async move { hookmq::connection::serve(b, s, facts, None).await });
    }
}
