//! Write HookMQ plugins in Rust.
#![doc = include_str!("guide.md")]

use std::cell::RefCell;
use std::thread::LocalKey;

#[doc(hidden)]
pub mod bindings;
pub mod clock;
mod defaults;
pub mod emit;
pub mod explain;
mod host;
pub mod http;
pub mod kv;
pub mod log;
mod manifest;
pub mod metric;
pub mod secret;
#[cfg(not(target_arch = "wasm32"))]
pub mod test;
mod topic;

pub use bindings::{
    Access, Action, Attribute, AuthorizeVerdict, Certificate, Client, ClientLimits, ConnectAttempt,
    ConnectVerdict, Connection, DeliverVerdict, Denial, DistinguishedName, Effect, Identity,
    IdentityPatch, Message, MessagePatch, MessageProperties, Protocol, PublishVerdict, Qos,
    Refusal, UserProperty, Voucher,
};
#[doc(hidden)]
pub use bindings::{Guest, export_bindings};
pub use topic::{TopicFilter, is_topic_name};

/// The four hooks; a plugin implements those that its [`export!`] names.
///
/// An `Err` is a failure of the step: the broker logs it and the step's failure policy decides. A
/// denial is a verdict, not an error.
pub trait Plugin: Sized + 'static {
    /// What the operator may configure; `Default` where nothing is configured. Derive `Deserialize`
    /// with `deny_unknown_fields`, so that a misspelt key is refused.
    type Config: serde::de::DeserializeOwned + Default;

    /// Checks the configuration. The error is shown to the operator.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// Who is this?
    fn connect(&mut self, _attempt: ConnectAttempt) -> Result<ConnectVerdict, String> {
        Ok(ConnectVerdict::Next(IdentityPatch::default()))
    }

    /// May it publish, subscribe or receive here?
    fn authorize(&mut self, _client: Client, _access: Access) -> Result<AuthorizeVerdict, String> {
        Ok(AuthorizeVerdict::Abstain)
    }

    /// What becomes of this message? `client` published it.
    fn publish(
        &mut self,
        _client: Option<Client>,
        _message: Message,
    ) -> Result<PublishVerdict, String> {
        Ok(PublishVerdict::default())
    }

    /// What does this subscriber see? `client` is the subscriber.
    fn deliver(
        &mut self,
        _client: Option<Client>,
        _message: Message,
    ) -> Result<DeliverVerdict, String> {
        Ok(DeliverVerdict::default())
    }
}

/// Where [`export!`] keeps the plugin: empty until the broker has configured it.
#[doc(hidden)]
pub type Slot<P> = RefCell<Option<P>>;

/// A plugin with a manifest, which [`export!`] has given it.
pub trait Exported {
    /// JSON.
    const MANIFEST: &'static str;
}

#[doc(hidden)]
pub fn configure<P: Plugin>(slot: &'static LocalKey<Slot<P>>, config: &str) -> Result<(), String> {
    slot.replace(Some(configured(config)?));
    Ok(())
}

/// The plugin with this configuration; `null` stands for the default one.
fn configured<P: Plugin>(config: &str) -> Result<P, String> {
    let config: Option<P::Config> = serde_json::from_str(config).map_err(|e| e.to_string())?;
    P::new(config.unwrap_or_default())
}

#[doc(hidden)]
pub fn with<P: Plugin, R>(
    slot: &'static LocalKey<Slot<P>>,
    call: impl FnOnce(&mut P) -> Result<R, String>,
) -> Result<R, String> {
    slot.with_borrow_mut(|plugin| match plugin {
        Some(plugin) => call(plugin),
        None => Err("the plugin is not configured".into()),
    })
}

/// Sends panic messages to the operator's log; without it a trap tells only that it happened.
#[doc(hidden)]
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
}

/// The examples of README.md are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
