//! `access` in authorize: what the client wants to do.

use hookmq_hooks::{Access, Action};
use rhai::{Engine, ImmutableString};

#[derive(Clone)]
pub(crate) struct AccessFacts {
    pub(crate) action: &'static str,
    pub(crate) topic: ImmutableString,
    pub(crate) qos: i64,
    pub(crate) retain: bool,
}

impl AccessFacts {
    pub(crate) fn new(access: &Access<'_>) -> Self {
        let action = match access.action {
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
            Action::Receive => "receive",
        };
        let topic = access.topic.into();
        Self { action, topic, qos: access.qos as i64, retain: access.retain }
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<AccessFacts>("access")
        .register_get("action", |it: &mut AccessFacts| it.action)
        .register_get("topic", |it: &mut AccessFacts| it.topic.clone())
        .register_get("qos", |it: &mut AccessFacts| it.qos)
        .register_get("retain", |it: &mut AccessFacts| it.retain);
}
