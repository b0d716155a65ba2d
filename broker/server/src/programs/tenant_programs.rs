//! Rules and plugins that tenants own: pushed by them, run in the sandbox, asked where the operator gives
//! them a place.
//!
//! Each tenant has a name space of its own: its rule or plugin `alarm` is `acme/alarm` to the rest of the
//! broker, which is no name that a program of the operator's can have. What they keep, count and run in is
//! apart from what the operator's programs do.

mod archive;
mod bounds;
mod broken;
mod held;
mod made;
mod places;
mod plugins;
mod restored;
mod shelf;
mod shown;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use hookmq_hooks::{
    Hook, KeyValueLimits, KeyValueStore, Pipeline, ProgramKind, ProgramMetrics, Services,
    TenantStepsCell,
};
use hookmq_wasm::HostOptions;
use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::warn;

use self::archive::{Archive, Kept, KeptRule, Pushed};
use self::bounds::{FIGURES, Tally};
pub use self::bounds::{TenantPluginsOptions, TenantProgramError, TenantRulesOptions};
pub use self::held::Pushing;
use self::held::{Held, State, artefacts, disk_bytes};
use self::made::{Made, Maker};
use self::places::Places;
pub use self::places::tenant_rules_place;
pub use self::shown::Shown;
use super::loader::{ProgramError, rules};
use super::plugin_host::plugin_host_with;
use super::sandbox::SANDBOX_FILE;
use crate::config::Config;

/// Where they are kept, in the data directory.
const DIRECTORY: &str = "tenant-rules";

/// The programs of all tenants.
pub struct TenantPrograms {
    maker: Maker,
    rules: TenantRulesOptions,
    archive: Archive,
    tenants: Mutex<HashMap<Arc<str>, Arc<Held>>>,
    counts: Counts,
}

/// Of all tenants.
#[derive(Default)]
struct Counts {
    rules: Tally,
    plugins: Tally,
    /// Bytes of plugins on the disk.
    disk: Tally,
}

impl Counts {
    fn of(&self, kind: ProgramKind) -> &Tally {
        match kind {
            ProgramKind::Plugin => &self.plugins,
            _ => &self.rules,
        }
    }

    fn disk(&self) -> &Tally {
        &self.disk
    }
}

impl TenantPrograms {
    /// Prepares the sandbox, and reads what is kept. None where the pipeline has no place for them. A
    /// program that does not load fails whenever it is asked.
    ///
    /// # Errors
    /// Where the sandbox is not to be had, or the directory of what is kept.
    pub fn load(config: &Config, pipeline: &Pipeline) -> Result<Option<Arc<Self>>, ProgramError> {
        let places = Places::of(pipeline);
        if places.is_empty() {
            return Ok(None);
        }
        let options = config.tenant_rules;
        let services = Arc::new(Services {
            key_value: KeyValueStore::new(KeyValueLimits {
                bytes: options.kept_bytes,
                ..KeyValueLimits::default()
            }),
            metrics: ProgramMetrics::bounded(FIGURES.all, FIGURES.of_tenant),
        });
        let host = HostOptions { instances: options.instances, ..config.plugins.host.clone() };
        let host = plugin_host_with(config, host, &services)?;
        let path = config.plugins.dir.join(SANDBOX_FILE);
        let artefact = fs::read(&path).map_err(|error| ProgramError::Read { path, error })?;
        let maker = Maker {
            sandbox: host.prepare(&artefact)?,
            host,
            engine: rules(config, &services),
            services,
            limits: config.plugins.limits,
            breaker: config.steps.breaker,
            places,
            plugins: config.tenant_plugins,
        };
        let directory = config.data_dir.join(DIRECTORY);
        let archive = Archive::open(&directory)
            .map_err(|error| ProgramError::Read { path: directory.clone(), error })?;
        let (tenants, counts) = Default::default();
        let loaded = Arc::new(Self { maker, rules: options, archive, tenants, counts });
        loaded.restore(&directory)?;
        Ok(Some(loaded))
    }

    /// The steps of a tenant, which every client of it shares.
    pub fn cell(&self, tenant: &Arc<str>) -> Arc<TenantStepsCell> {
        self.held(tenant).cell.clone()
    }

    /// As [`Self::cell`], if the tenant has had any.
    pub fn known_cell(&self, tenant: &str) -> Option<Arc<TenantStepsCell>> {
        self.known(tenant).map(|held| held.cell.clone())
    }

    /// Checks a rule, runs its tests, keeps it and puts it in force; says how it stands, and whether there
    /// was none of the name before.
    ///
    /// # Errors
    /// Why not; the text before stays in force.
    pub fn push_rule(
        &self,
        tenant: &Arc<str>,
        rule: &str,
        text: &[u8],
        who: &str,
    ) -> Result<(Shown, bool), TenantProgramError> {
        let (held, kind) = (self.held(tenant), ProgramKind::Rule);
        let mut state = held.readable()?;
        self.admit_change(&mut state)?;
        let (size, most) = (text.len(), self.rules.rule_bytes);
        if size > most {
            return Err(TenantProgramError::TooLong { kind, size, most });
        }
        let source = std::str::from_utf8(text).map_err(|_| ProgramError::NotText)?;
        let is_new = state.admit(kind, rule, self.rules.rules_per_tenant)?;
        self.put_rule(tenant, rule, source, who, &held, &mut state)?;
        Ok((state.shown(tenant, kind, rule)?, is_new))
    }

    /// Puts the text before in force again, which may be gone back from in turn.
    ///
    /// # Errors
    /// As [`Self::push_rule`], and where there is none.
    pub fn roll_back_rule(
        &self,
        tenant: &str,
        rule: &str,
        who: &str,
    ) -> Result<Shown, TenantProgramError> {
        let kind = ProgramKind::Rule;
        let held = self.known(tenant).ok_or(TenantProgramError::NoSuch(kind))?;
        let mut state = held.readable()?;
        self.admit_change(&mut state)?;
        let previous = match &state.find(kind, rule)?.kept {
            Kept::Rule(rule) => rule.previous.clone(),
            Kept::Plugin(_) => None,
        };
        let previous = previous.ok_or(TenantProgramError::NoPrevious(kind))?;
        self.put_rule(&tenant.into(), rule, &previous, who, &held, &mut state)?;
        state.shown(tenant, kind, rule)
    }

    /// Takes a program away, with what it has kept and counted.
    ///
    /// # Errors
    /// Where there is none, or it cannot be made to last.
    pub fn delete(
        &self,
        tenant: &str,
        kind: ProgramKind,
        name: &str,
    ) -> Result<(), TenantProgramError> {
        let held = self.known(tenant).ok_or(TenantProgramError::NoSuch(kind))?;
        let mut state = held.readable()?;
        state.find(kind, name)?;
        let before = disk_bytes(state.kept().map(|(_, kept)| kept));
        let kept: BTreeMap<_, _> = state.kept().filter(|(other, _)| *other != name).collect();
        let after = disk_bytes(kept.values().copied());
        self.archive.keep(tenant, &kept).map_err(TenantProgramError::Archive)?;
        state.programs.remove(name);
        self.counts.of(kind).replace(1, 0);
        self.counts.disk().replace(before, after);
        held.put_in_force(&state, &self.maker)?;
        if kind == ProgramKind::Plugin {
            self.archive.shelf(tenant).tidy(&artefacts(state.kept().map(|(_, kept)| kept)));
        }
        self.maker.forget(tenant, kind, name);
        Ok(())
    }

    /// Takes all programs of a tenant away that is no more.
    pub fn forget(&self, tenant: &str) {
        let Some(held) = self.known(tenant) else { return };
        let mut state = held.state.lock();
        if let Err(error) = self.archive.forget(tenant) {
            warn!(tenant, %error, "the rules of a tenant that is deleted stay in the data directory");
        }
        self.archive.shelf(tenant).tidy(&HashSet::new());
        let programs = std::mem::take(&mut state.programs);
        state.unreadable = None;
        for (name, made) in &programs {
            let kind = made.kept.kind();
            self.counts.of(kind).replace(1, 0);
            self.maker.forget(tenant, kind, name);
        }
        self.counts.disk().replace(disk_bytes(programs.values().map(|made| &made.kept)), 0);
        // Nothing to assemble, so that nothing can be wrong with it.
        let _ = held.put_in_force(&state, &self.maker);
    }

    /// How a program stands.
    ///
    /// # Errors
    /// Where there is none, or nobody can say.
    pub fn show(
        &self,
        tenant: &str,
        kind: ProgramKind,
        name: &str,
    ) -> Result<Shown, TenantProgramError> {
        let held = self.known(tenant).ok_or(TenantProgramError::NoSuch(kind))?;
        held.readable()?.shown(tenant, kind, name)
    }

    /// How all programs of a kind stand that a tenant has, in the order in which they are asked.
    ///
    /// # Errors
    /// Where nobody can say.
    pub fn list(&self, tenant: &str, kind: ProgramKind) -> Result<Vec<Shown>, TenantProgramError> {
        let Some(held) = self.known(tenant) else { return Ok(vec![]) };
        let state = held.readable()?;
        let of_kind = state.programs.iter().filter(|(_, made)| made.kept.kind() == kind);
        Ok(of_kind.map(|(name, made)| Shown::new(tenant, name, made)).collect())
    }

    pub fn rules_options(&self) -> &TenantRulesOptions {
        &self.rules
    }

    pub fn plugins_options(&self) -> &TenantPluginsOptions {
        &self.maker.plugins
    }

    /// Programs of a kind, of all tenants.
    pub fn count(&self, kind: ProgramKind) -> u64 {
        self.counts.of(kind).value()
    }

    /// Bytes of all tenants' plugins on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.counts.disk().value()
    }

    /// Instances of all tenants' programs.
    pub fn instances(&self) -> u32 {
        self.maker.host.instances()
    }

    /// Programs that are left alone at the hook for a while, because they have failed too often. What is
    /// in force is looked at, so that nobody waits for a change.
    pub fn open_breakers(&self, hook: Hook) -> usize {
        let held: Vec<_> = self.tenants.lock().values().cloned().collect();
        let concerned = held.iter().filter(|held| held.cell.has_steps(hook));
        concerned.map(|held| held.cell.load().open_breakers(hook)).sum()
    }

    /// What they keep and count.
    pub fn services(&self) -> &Services {
        &self.maker.services
    }

    /// Makes a rule, keeps it, and puts it in force, in this order.
    fn put_rule(
        &self,
        tenant: &Arc<str>,
        rule: &str,
        source: &str,
        who: &str,
        held: &Held,
        state: &mut State,
    ) -> Result<(), TenantProgramError> {
        let before = state.find(ProgramKind::Rule, rule).ok().map(|made| made.kept.clone());
        let before = before.and_then(|kept| match kept {
            Kept::Rule(rule) => Some(rule.source),
            Kept::Plugin(_) => None,
        });
        if before.as_ref().is_some_and(|before| before == source) {
            return Ok(());
        }
        let outline = self.maker.outline(rule, source)?;
        let is_new = before.is_none();
        let kept = KeptRule {
            source: source.to_owned(),
            sha256: outline.sha256.clone(),
            previous: before,
            pushed: Pushed::new(now(), who, outline.hooks, &outline.topics),
        };
        let made = self.maker.make_rule(tenant, rule, kept, outline)?;
        made.try_out()?;
        let (kind, most) = (ProgramKind::Rule, self.rules.rules);
        let room = self.counts.rules.change(0, is_new.into(), most as u64);
        let room = room.ok_or(TenantProgramError::Full { kind, most })?;
        self.put(tenant, rule, made, held, state)?;
        room.take();
        Ok(())
    }

    /// Keeps a program, and puts it in force.
    fn put(
        &self,
        tenant: &str,
        name: &str,
        made: Made,
        held: &Held,
        state: &mut State,
    ) -> Result<(), TenantProgramError> {
        let mut all: BTreeMap<_, _> = state.kept().collect();
        all.insert(name, &made.kept);
        self.archive.keep(tenant, &all).map_err(TenantProgramError::Archive)?;
        state.programs.insert(name.into(), made);
        Ok(held.put_in_force(state, &self.maker)?)
    }

    fn admit_change(&self, state: &mut State) -> Result<(), TenantProgramError> {
        let most = self.rules.pushes_per_minute;
        match state.pace.admits(most, Instant::now()) {
            true => Ok(()),
            false => Err(TenantProgramError::TooOften(most)),
        }
    }

    fn held(&self, tenant: &Arc<str>) -> Arc<Held> {
        let mut tenants = self.tenants.lock();
        if let Some(held) = tenants.get(tenant) {
            return held.clone();
        }
        let held = Arc::new(match self.archive.is_unreadable(tenant) {
            None => Held::default(),
            Some(reason) => Held::unreadable(tenant, reason, &self.maker),
        });
        tenants.insert(tenant.clone(), held.clone());
        held
    }

    fn known(&self, tenant: &str) -> Option<Arc<Held>> {
        if self.archive.is_unreadable(tenant).is_some() {
            return Some(self.held(&tenant.into()));
        }
        self.tenants.lock().get(tenant).cloned()
    }
}

/// RFC 3339, UTC.
fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}
