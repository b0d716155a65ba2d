//! The broker's figures in Prometheus' text form.

mod store;

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use hookmq_hooks::{
    BUCKETS, FailureKind, Hook, Pipeline, ProgramKind, ProgramMetric, Step, VerdictKind, Version,
};

use super::Admin;
use crate::admission::Bound;
use crate::broker::meter;
use crate::tls::Fault;

/// Counters in Prometheus' text form.
pub async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let metrics = &admin.broker.metrics;
    let mut text = String::new();
    let mut write = |name: &str, kind: &str, value: u64| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# TYPE hookmq_{name} {kind}\nhookmq_{name} {value}");
    };
    write("connections", "gauge", metrics.connections.value());
    for (name, counter) in [
        ("connections_accepted_total", &metrics.connections_accepted),
        ("connections_refused_total", &metrics.connections_refused),
        ("connects_banned_total", &metrics.connects_banned),
        ("connects_held_back_total", &metrics.connects_held_back),
        ("audit_records_left_out_total", &admin.broker.audit.left_out),
        ("sockets_accepted_total", &metrics.sockets_accepted),
        ("sessions_expired_total", &metrics.sessions_expired),
        ("messages_overflowed_total", &metrics.messages_overflowed),
        ("publishes_refused_total", &metrics.publishes_refused),
        ("publishes_denied_total", &metrics.publishes_denied),
        ("messages_dropped_by_hooks_total", &metrics.messages_dropped_by_hooks),
        ("subscriptions_revoked_total", &metrics.subscriptions_revoked),
        ("messages_withheld_total", &metrics.messages_withheld),
        ("messages_emitted_total", &metrics.messages_emitted),
        ("emissions_stopped_total", &metrics.emissions_stopped),
        ("step_failures_total", &metrics.step_failures),
        ("step_breakers_opened_total", &metrics.breakers_opened),
    ] {
        write(name, "counter", counter.value());
    }
    let memory = &admin.broker.memory;
    for (name, value) in [
        ("memory_resident_bytes", memory.resident()),
        ("memory_bound_bytes", memory.most()),
        ("memory_short", memory.is_short().into()),
    ] {
        write(name, "gauge", value);
    }
    let traffic = metrics.traffic.sum();
    for (name, value) in [
        ("packets_received_total", traffic.packets_received),
        ("packets_sent_total", traffic.packets_sent),
        ("bytes_received_total", traffic.bytes_received),
        ("bytes_sent_total", traffic.bytes_sent),
        ("messages_received_total", traffic.messages_received),
        ("messages_sent_total", traffic.messages_sent),
    ] {
        write(name, "counter", value);
    }
    write("pipeline_generation", "gauge", admin.broker.pipeline.generation());
    text.push_str("# TYPE hookmq_connections_shed_total counter\n");
    for bound in Bound::ALL {
        let (key, count) = (bound.key(), metrics.connections_shed[bound as usize].value());
        let _ = writeln!(text, "hookmq_connections_shed_total{{bound=\"{key}\"}} {count}");
    }
    text.push_str("# TYPE hookmq_tls_reloads_total counter\n");
    for (outcome, counter) in
        [("applied", &metrics.tls_reloads_applied), ("refused", &metrics.tls_reloads_refused)]
    {
        let count = counter.value();
        let _ = writeln!(text, "hookmq_tls_reloads_total{{outcome=\"{outcome}\"}} {count}");
    }
    text.push_str("# TYPE hookmq_certificates_ended_total counter\n");
    for fault in Fault::ALL {
        let (fault, count) = (fault.name(), metrics.certificates_ended[fault as usize].value());
        let _ = writeln!(text, "hookmq_certificates_ended_total{{fault=\"{fault}\"}} {count}");
    }
    steps(&mut text, &admin);
    tenants(&mut text, &admin);
    quotas(&mut text, &admin);
    of_programs(&mut text, &admin);
    tenant_programs(&mut text, &admin);
    store::write(&mut text, admin.broker.store.figures());
    store::write_promise(&mut text, &admin.broker.protocol.promise);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// Per step and version. Writing to a string does not fail.
fn steps(text: &mut String, admin: &Admin) {
    let pipeline = admin.broker.pipeline.load();
    let mut series: Vec<(String, &Version)> = Vec::new();
    for hook in Hook::ALL {
        for (position, step) in (1..).zip(pipeline.steps(hook)) {
            let versions =
                step.versions().map(|version| (labels(step, position, version), version));
            series.extend(versions);
        }
    }
    text.push_str("# TYPE hookmq_step_verdicts_total counter\n");
    for (labels, version) in &series {
        for kind in VerdictKind::ALL {
            let count = version.meter.verdicts(kind);
            if count > 0 {
                let verdict = kind.name();
                let _ = writeln!(
                    text,
                    "hookmq_step_verdicts_total{{{labels},verdict=\"{verdict}\"}} {count}"
                );
            }
        }
    }
    text.push_str("# TYPE hookmq_step_errors_total counter\n");
    for (labels, version) in &series {
        for kind in FailureKind::ALL {
            let count = version.meter.failures(kind);
            if count > 0 {
                let reason = kind.name();
                let _ = writeln!(
                    text,
                    "hookmq_step_errors_total{{{labels},reason=\"{reason}\"}} {count}"
                );
            }
        }
    }
    text.push_str("# TYPE hookmq_step_seconds histogram\n");
    for (labels, version) in &series {
        let mut below = 0;
        for (count, bound) in version.meter.histogram().into_iter().zip(BUCKETS) {
            below += count;
            let bound = bound as f64 / 1e6;
            let _ = writeln!(text, "hookmq_step_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let all: u64 = version.meter.histogram().iter().sum();
        let busy = version.meter.busy().as_secs_f64();
        let _ = writeln!(text, "hookmq_step_seconds_bucket{{{labels},le=\"+Inf\"}} {all}");
        let _ = writeln!(text, "hookmq_step_seconds_sum{{{labels}}} {busy}");
        let _ = writeln!(text, "hookmq_step_seconds_count{{{labels}}} {all}");
    }
    let gauge = |text: &mut String, name: &str, value: &dyn Fn(&Version) -> u64| {
        let _ = writeln!(text, "# TYPE hookmq_step_{name} gauge");
        for (labels, version) in &series {
            let _ = writeln!(text, "hookmq_step_{name}{{{labels}}} {}", value(version));
        }
    };
    gauge(text, "instances", &|it| it.program.footprint().instances.into());
    gauge(text, "memory_bytes", &|it| it.program.footprint().bytes);
    open_breakers(text, admin, &pipeline);
    checks(text, &series);
}

/// A place of tenants' programs has those of all of them.
fn open_breakers(text: &mut String, admin: &Admin, pipeline: &Pipeline) {
    text.push_str("# TYPE hookmq_step_open_breakers gauge\n");
    let of_tenants = |hook| {
        let programs = admin.broker.tenant_programs.as_ref();
        programs.map_or(0, |programs| programs.open_breakers(hook))
    };
    for hook in Hook::ALL {
        for (position, step) in (1..).zip(pipeline.steps(hook)) {
            for version in step.versions() {
                let labels = labels(step, position, version);
                let open = match step.is_place() {
                    true => of_tenants(hook),
                    false => version.breakers.open().len(),
                };
                let _ = writeln!(text, "hookmq_step_open_breakers{{{labels}}} {open}");
            }
        }
    }
}

/// Of steps that try passwords.
fn checks(text: &mut String, series: &[(String, &Version)]) {
    let all: Vec<_> =
        series.iter().filter_map(|(labels, it)| Some((labels, it.program.checks()?))).collect();
    text.push_str("# TYPE hookmq_step_checks_total counter\n");
    for (labels, checks) in &all {
        let _ = writeln!(text, "hookmq_step_checks_total{{{labels}}} {}", checks.begun);
    }
    text.push_str("# TYPE hookmq_step_checks_running gauge\n");
    for (labels, checks) in &all {
        let _ = writeln!(text, "hookmq_step_checks_running{{{labels}}} {}", checks.running);
    }
}

fn labels(step: &Step, position: usize, version: &Version) -> String {
    let identity = version.program.identity();
    let sha256 = identity.sha256.get(..12).unwrap_or_default();
    let hook = format!("{:?}", step.hook).to_lowercase();
    let (kind, name, version) = (identity.kind.name(), &identity.name, &identity.version);
    format!(
        "hook=\"{hook}\",position=\"{position}\",kind=\"{kind}\",program=\"{name}\",\
         version=\"{version}\",sha256=\"{sha256}\""
    )
}

/// Tenants whose steps were held back.
fn tenants(text: &mut String, admin: &Admin) {
    text.push_str("# TYPE hookmq_tenant_throttled_total counter\n");
    for tenant in admin.broker.tenants() {
        let (name, count) = (escaped(&tenant.name), tenant.budget.throttled());
        if count > 0 {
            let _ = writeln!(text, "hookmq_tenant_throttled_total{{tenant=\"{name}\"}} {count}");
        }
    }
}

/// How many programs tenants have, and what these take.
fn tenant_programs(text: &mut String, admin: &Admin) {
    let Some(programs) = &admin.broker.tenant_programs else { return };
    for (name, value) in [
        ("rules", programs.count(ProgramKind::Rule)),
        ("plugins", programs.count(ProgramKind::Plugin)),
        ("plugin_disk_bytes", programs.disk_bytes()),
        ("rule_instances", programs.instances().into()),
    ] {
        let _ = writeln!(text, "# TYPE hookmq_tenant_{name} gauge\nhookmq_tenant_{name} {value}");
    }
}

/// How often tenants have reached the bounds of their quotas.
fn quotas(text: &mut String, admin: &Admin) {
    let tenants = admin.broker.tenants();
    text.push_str("# TYPE hookmq_quota_reached_total counter\n");
    for bound in meter::Bound::ALL {
        let count: u64 = tenants.iter().map(|tenant| tenant.meter.reached(bound)).sum();
        let bound = bound.key();
        let _ = writeln!(text, "hookmq_quota_reached_total{{bound=\"{bound}\"}} {count}");
    }
}

/// What plugins and rules count themselves.
fn of_programs(text: &mut String, admin: &Admin) {
    let (mut counters, mut gauges) = (String::new(), String::new());
    let mut show = |program: &str, name: &str, tenant: &str, figure| {
        let (program, tenant) = (escaped(program), escaped(tenant));
        let labels = format!("program=\"{program}\",name=\"{name}\",tenant=\"{tenant}\"");
        let _ = match figure {
            ProgramMetric::Counter(sum) => {
                writeln!(counters, "hookmq_program_counter_total{{{labels}}} {sum}")
            }
            ProgramMetric::Gauge(value) => {
                writeln!(gauges, "hookmq_program_gauge{{{labels}}} {value}")
            }
        };
    };
    admin.broker.services.metrics.for_each(&mut show);
    if let Some(rules) = &admin.broker.tenant_programs {
        rules.services().metrics.for_each(&mut show);
    }
    let _ = write!(text, "# TYPE hookmq_program_counter_total counter\n{counters}");
    let _ = write!(text, "# TYPE hookmq_program_gauge gauge\n{gauges}");
}

/// A label's value: tenants may have any name.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
