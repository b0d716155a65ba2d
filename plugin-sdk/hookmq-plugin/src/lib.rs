//! Write HookMQ plugins in Rust.
//!
//! A plugin is a type that implements [`Plugin`] and one [`export!`], in a crate whose type is
//! `cdylib`. Built with `cargo build --release --target wasm32-unknown-unknown`, its `.wasm` file
//! goes to the broker as it is.
//!
//! ```
//! use hookmq_plugin::{Client, Message, MessagePatch, Plugin, PublishVerdict};
//!
//! /// Puts a prefix before every payload.
//! pub struct Prefix(String);
//!
//! #[derive(Default, serde::Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Config {
//!     prefix: String,
//! }
//!
//! impl Plugin for Prefix {
//!     type Config = Config;
//!
//!     fn new(config: Config) -> Result<Self, String> {
//!         if config.prefix.is_empty() {
//!             return Err("prefix: must not be empty".into());
//!         }
//!         Ok(Self(config.prefix))
//!     }
//!
//!     fn publish(&mut self, _: Option<Client>, message: Message) -> Result<PublishVerdict, String> {
//!         let mut payload = self.0.clone().into_bytes();
//!         payload.extend(message.payload.unwrap_or_default());
//!         let patch = MessagePatch { payload: Some(payload), ..MessagePatch::default() };
//!         Ok(PublishVerdict::Replace(patch))
//!     }
//! }
//!
//! hookmq_plugin::export! {
//!     plugin: Prefix,
//!     hooks: [publish],
//!     fields: [payload],
//! }
//!
//! // The logic is plain Rust, so it is tested like any other.
//! let mut plugin = Prefix::new(Config { prefix: "> ".into() }).unwrap();
//! let message = Message { payload: Some(b"hi".to_vec()), ..Message::default() };
//! let verdict = plugin.publish(None, message).unwrap();
//! let PublishVerdict::Replace(patch) = verdict else { panic!() };
//! assert_eq!(patch.payload.unwrap(), b"> hi");
//! ```
//!
//! # Limits
//! An instance serves one tenant. The broker drops it after a panic, after a call beyond its time or
//! memory, and after many calls, so what it keeps in `self` is a cache and nothing more. There are no
//! files, sockets or environment variables.

use std::cell::RefCell;
use std::thread::LocalKey;

#[doc(hidden)]
pub mod bindings;
mod defaults;
mod manifest;

pub use bindings::{
    Access, Action, Attribute, AuthorizeVerdict, Certificate, Client, ClientLimits, ConnectAttempt,
    ConnectVerdict, Connection, DeliverVerdict, Denial, DistinguishedName, Effect, Identity,
    IdentityPatch, Message, MessagePatch, MessageProperties, Protocol, PublishVerdict, Qos,
    Refusal, UserProperty, Voucher,
};
#[doc(hidden)]
pub use bindings::{Guest, export_bindings};
pub use bindings::{clock, emit, http, kv, log, metric, secret};

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

#[doc(hidden)]
pub fn configure<P: Plugin>(slot: &'static LocalKey<Slot<P>>, config: &str) -> Result<(), String> {
    let config: Option<P::Config> = serde_json::from_str(config).map_err(|e| e.to_string())?;
    let plugin = P::new(config.unwrap_or_default())?;
    slot.replace(Some(plugin));
    Ok(())
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
