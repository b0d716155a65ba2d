//! A plugin as the pipeline sees it.

use std::sync::Arc;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;
use hookmq_hooks::{
    Access, AuthorizeVerdict, BoxFuture, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict,
    Hook, HookSet, Program, ProgramIdentity, PublishAnswer, StepFailure,
};
use wasmtime::Engine;

use crate::contract::{PluginPre, calls};
use crate::input::{AttemptInput, access_input, with_client, with_message};
use crate::instance::{GuestState, Instance, Own, failure, new_store, reported};
use crate::output;
use crate::pool::{Budget, Pool, Slot};
use crate::{Limits, LoadError, Manifest};

/// One version of a plugin: compiled, checked and configured.
pub struct WasmPlugin {
    identity: ProgramIdentity,
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
    pub(crate) fn new(
        identity: ProgramIdentity,
        manifest: Manifest,
        template: Template,
        budget: &Arc<Budget>,
    ) -> Self {
        let limits = template.own.limits;
        let pool = Pool::new(budget, limits.instances_per_tenant, limits.calls_per_instance);
        Self { identity, manifest, template, pool }
    }

    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.template.own.limits
    }

    /// Calls an instance of the tenant. After a trap, or a limit that ended the call, the instance is
    /// dropped; an error that the guest reports leaves it as it is.
    fn call<R>(
        &self,
        hook: Hook,
        tenant: &str,
        call: impl FnOnce(&calls::Guest, &mut wasmtime::Store<GuestState>) -> GuestResult<R>,
    ) -> Result<R, StepFailure> {
        let create = |tenant, slot| Ok(self.template.instantiate(tenant, slot)?);
        let answer = self.pool.with(tenant, create, |instance| {
            instance.arm(hook);
            let guest = instance.guest.hookmq_plugin_hooks();
            call(guest, &mut instance.store).map_err(|error| failure(&error, instance.store.data()))
        })?;
        answer.map_err(|reason| reported(&reason))
    }
}

type GuestResult<R> = wasmtime::Result<Result<R, String>>;

impl Template {
    /// Instantiates and configures once, to see whether it can be done.
    pub(crate) fn try_out(&self, budget: &Budget) -> Result<(), LoadError> {
        let Some(slot) = budget.slot() else {
            return Err(LoadError::Start("all instances of the plugin host are busy".into()));
        };
        self.instantiate("".into(), slot).map(drop).map_err(|failure| match failure {
            StartFailure::Refused(reason) => LoadError::Configuration(reason),
            StartFailure::Failed(failure) => LoadError::Start(failure.message),
        })
    }

    fn instantiate(&self, tenant: Arc<str>, slot: Slot) -> Result<Instance, StartFailure> {
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
        self.manifest.hooks
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.manifest.topics
    }

    fn authorize_is_cacheable(&self) -> bool {
        self.manifest.authorize_is_cacheable
    }

    /// Answers at once: a guest only computes, and its deadline bounds that. Before a step has
    /// assigned a tenant, all attempts share instances of their own.
    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let tenant = attempt.identity.tenant.as_deref().unwrap_or_default();
        let input = AttemptInput::new(attempt, self.manifest.fields);
        let answer = self
            .call(Hook::Connect, tenant, |guest, store| guest.call_connect(store, input.view()))
            .and_then(output::connect);
        Box::pin(std::future::ready(answer))
    }

    fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let verdict = with_client(client, self.manifest.fields, |view| {
            self.call(Hook::Authorize, &client.tenant, |guest, store| {
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
        let fields = self.manifest.fields;
        let (verdict, emitted) = with_message(client, message, fields, |view, message| {
            self.call(Hook::Publish, &client.tenant, |guest, store| {
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
        let verdict = with_message(client, message, self.manifest.fields, |view, message| {
            self.call(Hook::Deliver, &client.tenant, |guest, store| {
                guest.call_deliver(store, view, message)
            })
        })?;
        output::deliver(verdict)
    }
}
