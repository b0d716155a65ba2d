//! A plugin as the pipeline sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;
use hookmq_hooks::{
    Access, AuthorizeVerdict, BoxFuture, Circumstances, Client, ConnectAttempt, ConnectVerdict,
    DeliverVerdict, FailureKind, Footprint, Hook, HookSet, Program, ProgramIdentity, PublishAnswer,
    StepFailure, keep_notes,
};
use wasmtime::Engine;

use crate::contract::{PluginPre, calls};
use crate::input::{AttemptInput, access_input, with_client, with_message};
use crate::instance::{GuestState, Instance, Own, failure, new_store, reported};
use crate::output;
use crate::pool::{Budget, Pool, Slot};
use crate::workers::{Busy, Workers};
use crate::{Fields, Limits, LoadError, Manifest};

/// One version of a plugin: compiled, checked and configured.
pub struct WasmPlugin {
    identity: ProgramIdentity,
    inner: Arc<Inner>,
    /// Where the plugin may send requests, its calls of `connect` wait for them here.
    workers: Option<Workers>,
}

/// What calls need, on whatever thread.
struct Inner {
    manifest: Manifest,
    template: Template,
    pool: Arc<Pool>,
}

/// What every instance of a plugin is made from.
pub(crate) struct Template {
    pub(crate) engine: Engine,
    pub(crate) prepared: PluginPre<GuestState>,
    /// JSON.
    pub(crate) config: String,
    pub(crate) own: Arc<Own>,
}

impl WasmPlugin {
    /// With threads for its requests, where it may make any, and no instance yet.
    pub(crate) fn start(
        identity: ProgramIdentity,
        manifest: Manifest,
        template: Template,
        budget: &Arc<Budget>,
    ) -> Result<Self, LoadError> {
        let Limits { instances_per_tenant, calls_per_instance, .. } = template.own.limits;
        let threads = template.own.http.limits.threads;
        let workers = (!manifest.capabilities.http.is_empty())
            .then(|| Workers::start(&manifest.name, threads))
            .transpose()
            .map_err(|error| LoadError::Start(format!("its threads: {error}")))?;
        let pool = Pool::new(budget, instances_per_tenant, calls_per_instance);
        let inner = Arc::new(Inner { manifest, template, pool });
        Ok(Self { identity, inner, workers })
    }

    /// Instantiates and configures once, to see whether it can be done.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn try_out(&self) -> Result<(), LoadError> {
        let inner = &self.inner;
        match &self.workers {
            None => inner.template.try_out(inner.pool.budget()),
            Some(_) => inner.waiting(|| inner.template.try_out(inner.pool.budget())),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.inner.template.own.limits
    }
}

impl Inner {
    /// Calls an instance of the tenant. After a trap, or a limit that ended the call, the instance is
    /// dropped; an error that the guest reports leaves it as it is.
    fn call<R>(
        &self,
        hook: Hook,
        tenant: &str,
        call: impl FnOnce(&calls::Guest, &mut wasmtime::Store<GuestState>) -> GuestResult<R>,
    ) -> Result<R, StepFailure> {
        let create = |tenant, slot| {
            // On a thread of its own `connect` may wait; the other hooks are on a connection's.
            let waits = hook != Hook::Connect && !self.manifest.capabilities.http.is_empty();
            Ok(match waits {
                false => self.template.instantiate(tenant, slot)?,
                true => self.waiting(|| self.template.instantiate(tenant, slot))?,
            })
        };
        let answer = self.pool.with(tenant, create, |instance| {
            instance.arm(hook);
            let guest = instance.guest.hookmq_plugin_hooks();
            call(guest, &mut instance.store).map_err(|error| failure(&error, instance.store.data()))
        })?;
        answer.map_err(|reason| reported(&reason))
    }

    fn connect(&self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
        let tenant = attempt.identity.tenant.as_deref().unwrap_or_default();
        let input = AttemptInput::new(attempt, self.manifest.fields);
        self.call(Hook::Connect, tenant, |guest, store| guest.call_connect(store, input.view()))
            .and_then(output::connect)
    }

    /// Does what may wait for the network on a thread of a connection.
    fn waiting<R>(&self, work: impl FnOnce() -> R) -> R {
        let (mut work, mut result) = (Some(work), None);
        self.template.own.http.client.wait(&mut || {
            if let Some(work) = work.take() {
                result = Some(work());
            }
        });
        result.expect("the client does the work before it returns")
    }
}

type GuestResult<R> = wasmtime::Result<Result<R, String>>;

impl Template {
    fn try_out(&self, budget: &Budget) -> Result<(), LoadError> {
        let Some(slot) = budget.slot() else {
            return Err(LoadError::Start("all instances of the plugin host are busy".into()));
        };
        self.instantiate(self.own.home.clone(), slot).map(drop).map_err(|failure| match failure {
            StartFailure::Refused(reason) => LoadError::Configuration(reason),
            StartFailure::Failed(failure) => LoadError::Start(failure.message),
        })
    }

    /// Always in earnest: an instance that a rehearsal needs is kept for the calls after it.
    fn instantiate(&self, tenant: Arc<str>, slot: Slot) -> Result<Instance, StartFailure> {
        Circumstances::EARNEST.run(|| self.configured(tenant, slot)).0
    }

    fn configured(&self, tenant: Arc<str>, slot: Slot) -> Result<Instance, StartFailure> {
        let mut store = new_store(&self.engine, self.own.clone(), tenant);
        let configured = self.prepared.instantiate(&mut store).and_then(|guest| {
            let configured =
                guest.hookmq_plugin_hooks().call_configure(&mut store, &self.config)?;
            Ok(configured.map(|()| guest))
        });
        match configured {
            Ok(Ok(guest)) => Ok(Instance::new(store, guest, slot)),
            Ok(Err(reason)) => Err(StartFailure::Refused(reported(&reason).message)),
            Err(error) => Err(StartFailure::Failed(failure(&error, store.data()))),
        }
    }
}

/// A copy for another thread, without what the plugin does not see anyway.
fn owned(attempt: &ConnectAttempt, fields: Fields) -> ConnectAttempt {
    ConnectAttempt {
        connection: attempt.connection.clone(),
        certificate: attempt.certificate.clone(),
        client_id: attempt.client_id.clone(),
        username: attempt.username.clone(),
        password: attempt.password.clone().filter(|_| fields.password),
        authentication: None,
        waited: Default::default(),
        identity: attempt.identity.clone(),
    }
}

/// Why a new instance is of no use.
enum StartFailure {
    /// It does not accept its configuration.
    Refused(String),
    Failed(StepFailure),
}

impl From<StartFailure> for StepFailure {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::Refused(reason) => reported(&format!("configuration: {reason}")),
            StartFailure::Failed(failure) => failure,
        }
    }
}

impl Program for WasmPlugin {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        self.inner.manifest.hooks
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.inner.manifest.topics
    }

    fn manifest(&self) -> Option<serde_json::Value> {
        serde_json::to_value(&self.inner.manifest).ok()
    }

    fn authorize_is_cacheable(&self) -> bool {
        self.inner.manifest.authorize_is_cacheable
    }

    /// Answers at once where a guest only computes, for its deadline bounds that. Before a step has
    /// assigned a tenant, all attempts share instances of their own.
    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let Some(workers) = &self.workers else {
            return Box::pin(std::future::ready(self.inner.connect(attempt)));
        };
        let (inner, attempt) = (self.inner.clone(), owned(attempt, self.inner.manifest.fields));
        let circumstances = Circumstances::present();
        let answer = workers.call(move || circumstances.run(|| inner.connect(&attempt)));
        Box::pin(async move {
            let failed = |kind, message: &str| Err(StepFailure::new(kind, message));
            match answer {
                Err(Busy) => failed(FailureKind::Limit, "all threads of the plugin are busy"),
                Ok(answer) => match answer.await {
                    Some((verdict, notes)) => {
                        keep_notes(notes);
                        verdict
                    }
                    None => failed(FailureKind::Error, "the plugin host failed"),
                },
            }
        })
    }

    fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let verdict = with_client(client, self.inner.manifest.fields, |view| {
            self.inner.call(Hook::Authorize, &client.tenant, |guest, store| {
                guest.call_authorize(store, view, access_input(access))
            })
        })?;
        Ok(output::authorize(verdict))
    }

    fn publish(
        &self,
        client: &Arc<Client>,
        message: &Message,
    ) -> Result<PublishAnswer, StepFailure> {
        let fields = self.inner.manifest.fields;
        let (verdict, emitted) = with_message(client, message, fields, |view, message| {
            self.inner.call(Hook::Publish, &client.tenant, |guest, store| {
                let verdict = guest.call_publish(&mut *store, view, message)?;
                Ok(verdict.map(|verdict| (verdict, store.data_mut().take_emitted())))
            })
        })?;
        Ok(PublishAnswer { verdict: output::publish(verdict)?, emitted })
    }

    fn deliver(
        &self,
        client: &Arc<Client>,
        message: &Message,
    ) -> Result<DeliverVerdict, StepFailure> {
        let verdict =
            with_message(client, message, self.inner.manifest.fields, |view, message| {
                self.inner.call(Hook::Deliver, &client.tenant, |guest, store| {
                    guest.call_deliver(store, view, message)
                })
            })?;
        output::deliver(verdict)
    }

    fn refresh(&self, tenant: &str) {
        self.inner.pool.refresh(tenant);
    }

    fn footprint(&self) -> Footprint {
        let bytes = self.inner.template.own.memory.load(Ordering::Relaxed);
        Footprint { instances: self.inner.pool.instances(), bytes }
    }
}
