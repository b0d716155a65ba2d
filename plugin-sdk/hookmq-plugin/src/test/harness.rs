//! The pipeline that a test stands in for.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::host::{Call, with};
use super::manifest::Manifest;
use crate::{
    Access, AuthorizeVerdict, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict, Exported,
    Message, Plugin, PublishVerdict,
};

/// Calls an exported plugin as the broker does.
///
/// - The configuration is JSON and goes the way that the operator's goes.
/// - Each tenant has an instance of its own, configured before its first call.
/// - A hook is shown the fields that the manifest names, and no others.
/// - A call that ends with an error has emitted nothing.
///
/// What only the manifest of a broken plugin could bring about fails the test: a call to a hook that
/// it does not name, or the use of a capability that it does not ask for. The manifest's `topics` are
/// not looked at, nor are time and memory measured.
///
/// ```
/// use hookmq_plugin::{Client, Message, Plugin, PublishVerdict, emit, test};
/// use hookmq_plugin::test::{Harness, Host};
///
/// struct Echo;
///
/// impl Plugin for Echo {
///     type Config = ();
///
///     fn new((): ()) -> Result<Self, String> {
///         Ok(Self)
///     }
///
///     fn publish(&mut self, _: Option<Client>, message: Message) -> Result<PublishVerdict, String> {
///         let topic = format!("echo/{}", message.topic);
///         emit::publish(&emit::Emission::new(topic, message.payload.unwrap_or_default()))?;
///         Ok(PublishVerdict::Pass)
///     }
/// }
///
/// hookmq_plugin::export! {
///     plugin: Echo,
///     hooks: [publish],
///     fields: [payload],
///     emit: ["echo/#"],
/// }
///
/// let host = Host::new();
/// let mut echo = Harness::<Echo>::new("null").unwrap();
/// let verdict = echo.publish(&test::client("c1"), &test::message("a", "hi"));
/// assert_eq!(verdict, Ok(PublishVerdict::Pass));
/// assert_eq!(host.emitted()[0].topic, "echo/a");
/// ```
pub struct Harness<P> {
    manifest: Rc<Manifest>,
    config: String,
    instances: BTreeMap<String, P>,
}

impl<P: Plugin + Exported> Harness<P> {
    /// Configures one instance, as the broker does to see whether it can. `config` is JSON: a text, or
    /// what `serde_json::json!` makes.
    ///
    /// # Errors
    /// What the operator would be told.
    pub fn new(config: impl ToString) -> Result<Self, String> {
        let manifest = Rc::new(Manifest::parse(P::MANIFEST));
        let mut harness = Self { manifest, config: config.to_string(), instances: BTreeMap::new() };
        harness.instance("")?;
        Ok(harness)
    }

    /// # Errors
    /// As the hook.
    pub fn connect(&mut self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, String> {
        let shown = self.manifest.shown_attempt(attempt);
        let tenant = attempt.identity.tenant.clone().unwrap_or_default();
        self.call("connect", &tenant, |plugin| plugin.connect(shown))
    }

    /// # Errors
    /// As the hook.
    pub fn authorize(
        &mut self,
        client: &Client,
        access: &Access,
    ) -> Result<AuthorizeVerdict, String> {
        let shown = self.manifest.bare_client(client);
        let access = access.clone();
        self.call("authorize", &client.tenant, |plugin| plugin.authorize(shown, access))
    }

    /// # Errors
    /// As the hook.
    pub fn publish(
        &mut self,
        client: &Client,
        message: &Message,
    ) -> Result<PublishVerdict, String> {
        let shown = (self.manifest.shown_client(client), self.manifest.shown_message(message));
        self.call("publish", &client.tenant, |plugin| plugin.publish(shown.0, shown.1))
    }

    /// # Errors
    /// As the hook.
    pub fn deliver(
        &mut self,
        client: &Client,
        message: &Message,
    ) -> Result<DeliverVerdict, String> {
        let shown = (self.manifest.shown_client(client), self.manifest.shown_message(message));
        self.call("deliver", &client.tenant, |plugin| plugin.deliver(shown.0, shown.1))
    }

    /// Puts fresh instances in the place of all, as the broker does after failures and many calls.
    /// What the plugin keeps in `kv` remains.
    pub fn replace_instances(&mut self) {
        self.instances.clear();
    }

    fn call<R>(
        &mut self,
        hook: &'static str,
        tenant: &str,
        ask: impl FnOnce(&mut P) -> Result<R, String>,
    ) -> Result<R, String> {
        let named = self.manifest.hooks.iter().any(|named| named == hook);
        assert!(named, "`{hook}` is not among the hooks of the manifest");
        self.instance(tenant)?;
        let plugin = self.instances.get_mut(tenant).expect("it has just been made");
        during(&self.manifest, hook, tenant, || ask(plugin))
    }

    /// Sees to it that the tenant has an instance.
    fn instance(&mut self, tenant: &str) -> Result<(), String> {
        if !self.instances.contains_key(tenant) {
            let config = &self.config;
            let made = during(&self.manifest, "configure", "", || crate::configured::<P>(config));
            self.instances.insert(tenant.to_owned(), made?);
        }
        Ok(())
    }
}

/// Runs a call on an account of its own, under the manifest's grants.
fn during<R>(
    manifest: &Rc<Manifest>,
    hook: &'static str,
    tenant: &str,
    run: impl FnOnce() -> Result<R, String>,
) -> Result<R, String> {
    let call = Call {
        hook,
        tenant: tenant.to_owned(),
        manifest: manifest.clone(),
        emitted: Vec::new(),
        kv_calls: 0,
        http_requests: 0,
    };
    with(|state| state.call = Some(call));
    let answer = run();
    with(|state| {
        let call = state.call.take();
        if let (Some(call), Ok(_)) = (call, &answer) {
            state.emitted.extend(call.emitted);
        }
    });
    answer
}
