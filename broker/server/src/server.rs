//! The broker's life: configuration -> build -> run -> drain.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hookmq_access::Directory;
use hookmq_hooks::{Hook, ProgramKind, Services};
use hookmq_store::{DurableStore, Recovery, StoreFailure};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::info;

use crate::admin::{self, Admin};
use crate::broker::recovery::Remains;
use crate::broker::sys::{self, SysOptions};
use crate::broker::timers::Timers;
use crate::broker::{BesidePipeline, Broker};
use crate::broker::{abroad, bans, mappings, memory, rights, sweep, tenancy};
use crate::config::{Bind, Config, ConfigError};
use crate::listener::Listener;
use crate::programs::{COMPILED, Loader, Programs, StepError, TenantPrograms};
use crate::tls::Keyring;

/// A broker with all its sockets bound, not yet accepting.
pub struct Server {
    broker: Arc<Broker>,
    store: Arc<DurableStore>,
    store_failed: oneshot::Receiver<StoreFailure>,
    listeners: Vec<Listener>,
    keyring: Arc<Keyring>,
    admin: Option<(Arc<Admin>, TcpListener)>,
    sys: Option<SysOptions>,
    directory: Option<Directory>,
}

/// Time that clients get to be told that the broker stops.
const DRAIN: Duration = Duration::from_secs(5);

impl Server {
    /// Loads every program, binds every socket. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What keeps the broker from serving as configured; nothing is left running.
    pub async fn build(config: Config) -> Result<Self> {
        create_private_directory(&config.data_dir)?;
        create_private_directory(&config.data_dir.join(COMPILED))?;
        let directory = config.database.clone().map(Directory::start);
        let services = Arc::new(Services::default());
        let loader = Loader::new(&config, &services)?;
        let (programs, pipeline) = Programs::load(
            loader,
            config.pipeline.clone(),
            config.steps,
            &config.data_dir,
            directory.as_ref(),
        )
        .map_err(|errors| step_errors(&config, errors))?;
        let tenant_programs = TenantPrograms::load(&config, &pipeline)
            .map_err(|error| anyhow!(error.told()).context("the rules of tenants"))?;
        let mut recovery = Recovery::open(&config.store)
            .with_context(|| format!("open the store in {}", config.store.directory.display()))?;
        let remains = Remains::read(&mut recovery)?;
        let (failed, store_failed) = oneshot::channel();
        let store = recovery.serve(|failure| {
            // Where nobody listens any more the broker is ending.
            let _ = failed.send(failure);
        })?;
        let broker = Broker::new(
            pipeline,
            config.limits.clone(),
            config.protocol.clone(),
            config.rights.clone(),
            store.clone(),
            directory.clone(),
            BesidePipeline { services, tenant_programs },
        );
        broker.restore(remains);
        let tls = config.listeners.iter().filter_map(|listener| listener.tls.clone()).collect();
        let keyring = Arc::new(Keyring::new(tls, config.tls_reload_interval));
        let admin = match &config.admin {
            None => None,
            Some(settings) => {
                let listener = admin::bind(settings.address)
                    .await
                    .with_context(|| format!("bind the admin API to {}", settings.address))?;
                let (token, programs) = (settings.token()?, Arc::new(programs));
                let artefact_bytes = config.plugins.host.artefact_bytes;
                let keyring = keyring.clone();
                let admin = Admin::new(
                    broker.clone(),
                    programs,
                    directory.clone(),
                    keyring,
                    &token,
                    artefact_bytes,
                    settings,
                );
                Some((admin, listener))
            }
        };
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let (name, bind) = (&listener.name, &listener.bind);
            let bound = Listener::bind(listener.clone());
            listeners.push(bound.with_context(|| format!("bind the listener {name} to {bind}"))?);
        }
        let sys = config.sys;
        Ok(Self { broker, store, store_failed, listeners, keyring, admin, sys, directory })
    }

    /// Where the listeners are, by name; with port 0 configured, the port that was given.
    pub fn places(&self) -> impl Iterator<Item = (&str, &Bind)> {
        self.listeners.iter().map(|listener| (&**listener.name(), listener.place()))
    }

    /// Where the admin API is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|(_, listener)| listener.local_addr().ok())
    }

    /// Serves until `stop` completes, then tells the clients and waits for them to be gone.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let admin_address = self.admin_address();
        let Self { broker, store, mut store_failed, listeners, keyring, admin, sys, directory } =
            self;
        let mut tasks = JoinSet::new();
        tasks.spawn(forever(Timers::run(broker.clone())));
        tasks.spawn(forever(sweep::run(broker.clone())));
        tasks.spawn(forever(memory::run(broker.clone())));
        tasks.spawn(forever(keyring.run(broker.clone())));
        if let Some(options) = sys {
            tasks.spawn(forever(sys::run(broker.clone(), options)));
        }
        if let Some(directory) = directory {
            tasks.spawn(forever(bans::run(broker.clone(), directory.clone())));
            tasks.spawn(forever(mappings::run(broker.clone(), directory.clone())));
            tasks.spawn(forever(tenancy::run(broker.clone(), directory.clone())));
            tasks.spawn(forever(abroad::run(broker.clone(), directory.clone())));
            tasks.spawn(forever(rights::run(broker.clone(), directory)));
        }
        for listener in listeners {
            let name = &**listener.name();
            match listener.place() {
                Bind::Network { transport, address } => {
                    let transport = transport.scheme();
                    info!(listener = name, %address, transport, "listening");
                }
                Bind::Unix(path) => {
                    let address = path.display();
                    info!(listener = name, %address, transport = "unix", "listening");
                }
            }
            tasks.spawn(forever(listener.run(broker.clone())));
        }
        if let Some((admin, listener)) = admin {
            if let Some(address) = admin_address {
                info!(%address, "admin API listening");
            }
            tasks.spawn(async move { admin.serve(listener).await.context("serve the admin API") });
        }
        let ended = tokio::select! {
            () = stop => Ok(()),
            // Nothing may be acknowledged any more, and nobody need be told so gently.
            Ok(failure) = &mut store_failed => return Err(failure.into()),
            // None of these tasks ends by itself, so one that does has failed.
            Some(ended) = tasks.join_next() => {
                ended.context("a task of the broker panicked").and_then(|result| result)
            }
        };
        // A socket's file goes with its task.
        tasks.shutdown().await;
        drain(&broker).await;
        // What was said on the way out is written, and the next start is quick.
        tokio::task::spawn_blocking(move || store.close()).await.context("close the store")?;
        match store_failed.try_recv() {
            Ok(failure) => Err(failure.into()),
            Err(_) => ended,
        }
    }
}

/// Disconnects every client and waits until they are gone, or the time is over.
async fn drain(broker: &Broker) {
    info!(connections = broker.metrics.connections.value(), "stopping");
    broker.disconnect_all();
    let gone = tokio::time::timeout(DRAIN, broker.admission.all_gone()).await;
    info!(clean = gone.is_ok(), "stopped");
}

async fn forever(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Err(anyhow!("a task of the broker ended"))
}

fn step_errors(config: &Config, errors: Vec<StepError>) -> ConfigError {
    let problems = errors
        .into_iter()
        .map(|(hook, position, error)| config.step_problem(hook, position, error.told()))
        .collect();
    ConfigError(problems)
}

/// Loads the rules and plugins that the pipeline names, without starting anything.
///
/// # Errors
/// All that do not load, with the steps that name them.
pub fn check_programs(config: &Config) -> Result<()> {
    let loader = Loader::new(config, &Arc::default())?;
    let mut errors = Vec::new();
    for hook in Hook::ALL {
        for (position, step) in config.pipeline.steps(hook).iter().enumerate() {
            if step.program.kind == ProgramKind::Builtin {
                continue;
            }
            if let Err(error) = loader.load(hook, step) {
                errors.push((hook, position, error));
            }
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(step_errors(config, errors).into()),
    }
}

fn create_private_directory(path: &Path) -> Result<()> {
    hookmq_store::make_directory(path)
        .with_context(|| format!("create the directory {}", path.display()))
}
