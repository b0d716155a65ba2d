//! What is put in force when the broker starts, and what must be compiled again first.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use hookmq_hooks::ProgramKind;
use tracing::{error, info, warn};

use super::super::loader::ProgramError;
use super::archive::{Kept, KeptPlugin};
use super::held::disk_bytes;
use super::made::Made;
use super::{TenantProgramError, TenantPrograms};

/// How long the start waits for plugins that have to be compiled again, after the broker has become another
/// version. Those that take longer fail until they are.
const PATIENCE: Duration = Duration::from_secs(30);

/// A plugin whose code is not there.
struct Missing {
    tenant: Arc<str>,
    name: Arc<str>,
}

impl TenantPrograms {
    /// Puts in force what is kept.
    pub(super) fn restore(self: &Arc<Self>, directory: &Path) -> Result<(), ProgramError> {
        let start = Instant::now();
        let unreadable = |error| ProgramError::Read { path: directory.to_owned(), error };
        let mut missing = Vec::new();
        for (tenant, kept) in self.archive.all().map_err(unreadable)? {
            let tenant: Arc<str> = tenant.into();
            let held = self.held(&tenant);
            let mut state = held.state.lock();
            for (name, kept) in kept {
                let (kind, name): (_, Arc<str>) = (kept.kind(), name.into());
                let (made, is_missing) = self.restored(&tenant, &name, kept);
                if is_missing {
                    missing.push(Missing { tenant: tenant.clone(), name: name.clone() });
                }
                state.programs.insert(name, made);
                self.counts.of(kind).replace(0, 1);
            }
            self.counts.disk().replace(0, disk_bytes(state.kept().map(|(_, kept)| kept)));
            if let Err(error) = held.put_in_force(&state, &self.maker) {
                warn!(tenant = &*tenant, %error, "the rules of a tenant are not in force");
            }
        }
        self.compile_again(missing);
        let [rules, plugins] = [ProgramKind::Rule, ProgramKind::Plugin].map(|it| self.count(it));
        let milliseconds = start.elapsed().as_millis() as u64;
        if rules + plugins > 0 {
            info!(rules, plugins, milliseconds, "rules and plugins of tenants are in force");
        }
        Ok(())
    }

    /// A program as it was, and whether it must be compiled first.
    fn restored(&self, tenant: &Arc<str>, name: &str, kept: Kept) -> (Made, bool) {
        let made = match &kept {
            Kept::Rule(rule) => {
                rule.check().map_err(TenantProgramError::Unreadable).and_then(|()| {
                    let outline = self.maker.outline(name, &rule.source)?;
                    self.maker.make_rule(tenant, name, rule.clone(), outline).map(Some)
                })
            }
            Kept::Plugin(plugin) => self.restored_plugin(tenant, name, plugin),
        };
        match made {
            Ok(Some(made)) => (made, false),
            Ok(None) => {
                let reason = "it is being compiled for this version of the broker".into();
                (self.maker.broken(tenant, name, kept, reason), true)
            }
            Err(error) => (self.broken(tenant, name, kept, &error), false),
        }
    }

    /// A plugin of which nothing has to be compiled; none where it has.
    fn restored_plugin(
        &self,
        tenant: &str,
        name: &str,
        kept: &KeptPlugin,
    ) -> Result<Option<Made>, TenantProgramError> {
        let shelf = self.archive.shelf(tenant);
        let artefact = shelf.read(&kept.version.sha256).map_err(TenantProgramError::Unreadable)?;
        self.maker.manifest(&artefact)?;
        let prepared = self.maker.find(&artefact, &shelf)?;
        prepared.map(|it| self.maker.make_plugin(tenant, name, kept.clone(), &it)).transpose()
    }

    fn broken(&self, tenant: &str, name: &str, kept: Kept, error: &TenantProgramError) -> Made {
        let (kind, reason) = (kept.kind().name(), error.to_string());
        warn!(tenant, name, reason, "a tenant's {kind} does not load: it fails");
        self.maker.broken(tenant, name, kept, reason)
    }

    /// Compiles what has no code, one after another, and waits for a while that it is done.
    fn compile_again(self: &Arc<Self>, missing: Vec<Missing>) {
        if missing.is_empty() {
            return;
        }
        let (plugins, programs) = (missing.len(), self.clone());
        info!(plugins, "plugins of tenants are compiled again");
        let (done, waiting) = mpsc::sync_channel(1);
        let work = move || {
            missing.iter().for_each(|it| programs.compile_one(it));
            // Nobody may be waiting any more.
            let _ = done.send(());
        };
        if let Err(error) = thread::Builder::new().name("tenant-plugins".into()).spawn(work) {
            error!(%error, "no thread compiles the plugins of tenants: they fail");
            return;
        }
        if let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(PATIENCE) {
            warn!("the broker starts before all plugins of tenants are compiled: the others fail");
        }
    }

    /// Compiles a plugin and puts it in force, unless it has been changed meanwhile.
    fn compile_one(&self, Missing { tenant, name }: &Missing) {
        let held = self.held(tenant);
        let waiting = || {
            let state = held.state.lock();
            let made = state.find(ProgramKind::Plugin, name).ok()?;
            made.problem().and_then(|_| made.kept.as_plugin().cloned())
        };
        let Some(kept) = waiting() else { return };
        let made = self.compiled_again(tenant, name, &kept);
        let mut state = held.state.lock();
        let is_waiting = |made: &Made| {
            made.problem().is_some() && made.kept.as_plugin().is_some_and(|it| *it == kept)
        };
        if !state.programs.get(name).is_some_and(is_waiting) {
            return;
        }
        let made = made
            .unwrap_or_else(|error| self.broken(tenant, name, Kept::Plugin(kept.clone()), &error));
        state.programs.insert(name.clone(), made);
        if let Err(error) = held.put_in_force(&state, &self.maker) {
            warn!(tenant = &**tenant, %error, "the rules of a tenant are not in force");
        }
    }

    fn compiled_again(
        &self,
        tenant: &str,
        name: &str,
        kept: &KeptPlugin,
    ) -> Result<Made, TenantProgramError> {
        let shelf = self.archive.shelf(tenant);
        let artefact = shelf.read(&kept.version.sha256).map_err(TenantProgramError::Unreadable)?;
        let (prepared, code) = self.maker.compile(&artefact, &mut Duration::default())?;
        let made = self.maker.make_plugin(tenant, name, kept.clone(), &prepared)?;
        if let Err(error) = code.keep(shelf.directory()) {
            warn!(tenant, name, %error, "a plugin's code is not kept");
        }
        Ok(made)
    }
}
