//! Clients that go while their plugin is asked.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use hookmq_hooks::{ConnectVerdict, FailureKind, Program, StepFailure};
use hookmq_wasm::{HostOptions, HttpLimits, WasmPlugin};
use serde_json::json;

use crate::imports::{URL, ask, host_of, load_from, options, wait};
use crate::{attempt, patient};

const CALLS: usize = 100_000;

/// Waits until the plugin has a thread to spare.
fn admitted(plugin: &WasmPlugin, request: &str) -> Result<ConnectVerdict, StepFailure> {
    let attempt = attempt(request);
    loop {
        match wait(plugin.connect(&attempt)) {
            Err(busy) if busy.message.contains("threads of the plugin are busy") => {
                thread::yield_now();
            }
            answer => return answer,
        }
    }
}

/// P05: a call that nobody awaits any more is not made, or ends; no lock is kept, no thread and no instance
/// is lost.
#[test]
fn a_hundred_thousand_cancelled_calls_cost_the_plugin_nothing() {
    let http = HttpLimits { requests_per_tenant_per_second: u32::MAX, ..HttpLimits::default() };
    let host = host_of(HostOptions { http, ..options(patient()) });
    let plugin = Arc::new(load_from(&host, json!(null)).unwrap());
    let attempts =
        ["good".to_owned(), format!("fetch {URL}"), "nonsense ".repeat(20)].map(|it| attempt(&it));
    let mut context = Context::from_waker(Waker::noop());
    let mut random = 1_u32;
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..CALLS {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (kind, polls) = ((random >> 20) as usize % 3, (random >> 24) % 4);
        let mut call = plugin.connect(&attempts[kind]);
        for _ in 0..polls {
            match call.as_mut().poll(&mut context) {
                Poll::Pending => thread::yield_now(),
                Poll::Ready(Ok(_)) => {
                    answered += 1;
                    break;
                }
                Poll::Ready(Err(busy)) => {
                    assert_eq!(busy.kind, FailureKind::Limit, "{busy}");
                    refused += 1;
                    break;
                }
            }
        }
    }
    // How many of each is the machine's affair.
    println!("{answered} were answered, {refused} came while all threads were busy");
    for _ in 0..20 {
        assert!(matches!(
            admitted(&plugin, &format!("fetch {URL}")),
            Ok(ConnectVerdict::Accept(_))
        ));
    }
    assert_eq!(ask(&plugin, "a", "good").unwrap(), "good");
    let instances = plugin.footprint().instances;
    assert!((1..=8).contains(&instances), "{instances}");
}
