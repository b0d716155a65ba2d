//! Rules that tenants own: pushed by them, run in the sandbox, asked where the operator gives them a place.
//!
//! Each tenant has a name space of its own: its rule `alarm` is `acme/alarm` to the rest of the broker,
//! which is no name that a rule of the operator's can have. What they keep, count and run in is apart from
//! what the operator's programs do.

mod archive;
mod bounds;
mod held;
mod made;
mod shown;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hookmq_hooks::{
    KeyValueLimits, KeyValueStore, Pipeline, ProgramMetrics, Services, TenantStepsCell,
};
use hookmq_wasm::HostOptions;
use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::{info, warn};

use self::archive::{Archive, Kept};
use self::bounds::FIGURES;
pub use self::bounds::{TenantProgramError, TenantRulesOptions};
use self::held::{Held, State};
pub use self::made::tenant_rules_place;
use self::made::{Made, Maker, Places};
pub use self::shown::Shown;
use super::loader::{ProgramError, rules};
use super::plugin_host::plugin_host_with;
use super::sandbox::SANDBOX_FILE;
use crate::config::Config;

/// Where they are kept, in the data directory.
const DIRECTORY: &str = "tenant-rules";

/// The rules of all tenants.
pub struct TenantPrograms {
    maker: Maker,
    options: TenantRulesOptions,
    archive: Archive,
    tenants: Mutex<HashMap<Arc<str>, Arc<Held>>>,
    /// Of all tenants.
    count: AtomicUsize,
}

impl TenantPrograms {
    /// Prepares the sandbox, and reads what is kept. None where the pipeline has no place for them. A rule
    /// that does not load fails whenever it is asked.
    ///
    /// # Errors
    /// Where the sandbox is not to be had, or the directory of what is kept.
    pub fn load(config: &Config, pipeline: &Pipeline) -> Result<Option<Self>, ProgramError> {
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
        };
        let directory = config.data_dir.join(DIRECTORY);
        let archive = Archive::open(&directory)
            .map_err(|error| ProgramError::Read { path: directory.clone(), error })?;
        let loaded =
            Self { maker, options, archive, tenants: Mutex::default(), count: AtomicUsize::new(0) };
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
    pub fn push(
        &self,
        tenant: &Arc<str>,
        rule: &str,
        text: &[u8],
        who: &str,
    ) -> Result<(Shown, bool), TenantProgramError> {
        let held = self.held(tenant);
        let mut state = held.readable()?;
        self.admit_change(&mut state)?;
        let (size, most) = (text.len(), self.options.rule_bytes);
        if size > most {
            return Err(TenantProgramError::TooLong { size, most });
        }
        let source = std::str::from_utf8(text).map_err(|_| ProgramError::NotText)?;
        let is_new = !state.rules.contains_key(rule);
        if is_new && state.rules.len() >= self.options.rules_per_tenant {
            return Err(TenantProgramError::TooMany(state.rules.len()));
        }
        self.put(tenant, rule, source, who, &held, &mut state)?;
        Ok((state.shown(tenant, rule)?, is_new))
    }

    /// Puts the text before in force again, which may be gone back from in turn.
    ///
    /// # Errors
    /// As [`Self::push`], and where there is none.
    pub fn roll_back(
        &self,
        tenant: &str,
        rule: &str,
        who: &str,
    ) -> Result<Shown, TenantProgramError> {
        let held = self.known(tenant).ok_or(TenantProgramError::NoSuchRule)?;
        let mut state = held.readable()?;
        self.admit_change(&mut state)?;
        let present = state.rules.get(rule).ok_or(TenantProgramError::NoSuchRule)?;
        let previous = present.kept.previous.clone().ok_or(TenantProgramError::NoPrevious)?;
        self.put(&tenant.into(), rule, &previous, who, &held, &mut state)?;
        state.shown(tenant, rule)
    }

    /// Takes a rule away, with what it has kept and counted.
    ///
    /// # Errors
    /// Where there is none, or it cannot be made to last.
    pub fn delete(&self, tenant: &str, rule: &str) -> Result<(), TenantProgramError> {
        let held = self.known(tenant).ok_or(TenantProgramError::NoSuchRule)?;
        let mut state = held.readable()?;
        if !state.rules.contains_key(rule) {
            return Err(TenantProgramError::NoSuchRule);
        }
        let kept = state.kept().filter(|(name, _)| *name != rule).collect();
        self.archive.keep(tenant, &kept).map_err(TenantProgramError::Archive)?;
        state.rules.remove(rule);
        self.count.fetch_sub(1, Ordering::Relaxed);
        held.put_in_force(&state, &self.maker)?;
        self.maker.forget(tenant, rule);
        Ok(())
    }

    /// Takes all rules of a tenant away that is no more.
    pub fn forget(&self, tenant: &str) {
        let Some(held) = self.known(tenant) else { return };
        let mut state = held.state.lock();
        if let Err(error) = self.archive.forget(tenant) {
            warn!(tenant, %error, "the rules of a tenant that is deleted stay in the data directory");
        }
        let rules = std::mem::take(&mut state.rules);
        state.unreadable = None;
        self.count.fetch_sub(rules.len(), Ordering::Relaxed);
        // Nothing to assemble, so that nothing can be wrong with it.
        let _ = held.put_in_force(&state, &self.maker);
        rules.keys().for_each(|rule| self.maker.forget(tenant, rule));
    }

    /// How a rule stands.
    ///
    /// # Errors
    /// Where there is none, or nobody can say.
    pub fn show(&self, tenant: &str, rule: &str) -> Result<Shown, TenantProgramError> {
        let held = self.known(tenant).ok_or(TenantProgramError::NoSuchRule)?;
        held.readable()?.shown(tenant, rule)
    }

    /// How all rules of a tenant stand, in the order in which they are asked.
    ///
    /// # Errors
    /// Where nobody can say.
    pub fn list(&self, tenant: &str) -> Result<Vec<Shown>, TenantProgramError> {
        let Some(held) = self.known(tenant) else { return Ok(vec![]) };
        let state = held.readable()?;
        state.rules.keys().map(|rule| state.shown(tenant, rule)).collect()
    }

    pub fn options(&self) -> &TenantRulesOptions {
        &self.options
    }

    /// Rules of all tenants.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Instances of all tenants' rules.
    pub fn instances(&self) -> u32 {
        self.maker.host.instances()
    }

    /// What they keep and count.
    pub fn services(&self) -> &Services {
        &self.maker.services
    }

    /// Makes a rule, keeps it, and puts it in force, in this order.
    fn put(
        &self,
        tenant: &Arc<str>,
        rule: &str,
        source: &str,
        who: &str,
        held: &Held,
        state: &mut State,
    ) -> Result<(), TenantProgramError> {
        let before = state.rules.get(rule).map(|made| made.kept.clone());
        if before.as_ref().is_some_and(|kept| kept.source == source) {
            return Ok(());
        }
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let outline = self.maker.outline(rule, source)?;
        let is_new = before.is_none();
        let previous = before.map(|kept| kept.source);
        let kept = Kept::new(source, previous, at, who, &outline);
        let made = self.maker.make(tenant, rule, kept.clone(), outline)?;
        made.try_out()?;
        let room = self.reserve(is_new)?;
        let mut all: BTreeMap<_, _> = state.kept().collect();
        all.insert(rule, &kept);
        self.archive.keep(tenant, &all).map_err(TenantProgramError::Archive)?;
        room.take();
        state.rules.insert(rule.into(), made);
        held.put_in_force(state, &self.maker)?;
        Ok(())
    }

    /// A place among the rules of all tenants, given back unless it is taken.
    fn reserve(&self, is_new: bool) -> Result<Room<'_>, TenantProgramError> {
        let most = self.options.rules;
        let more = |count| (count < most).then_some(count + 1);
        let count = &self.count;
        if is_new && count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(TenantProgramError::Full(most));
        }
        Ok(Room(is_new.then_some(count)))
    }

    fn admit_change(&self, state: &mut State) -> Result<(), TenantProgramError> {
        let most = self.options.pushes_per_minute;
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

    /// Puts in force what is kept.
    fn restore(&self, directory: &Path) -> Result<(), ProgramError> {
        let start = Instant::now();
        let unreadable = |error| ProgramError::Read { path: directory.to_owned(), error };
        for (tenant, kept) in self.archive.all().map_err(unreadable)? {
            let tenant: Arc<str> = tenant.into();
            let held = self.held(&tenant);
            let mut state = held.state.lock();
            for (rule, kept) in kept {
                let made = self.restored(&tenant, &rule, kept);
                state.rules.insert(rule.into(), made);
            }
            self.count.fetch_add(state.rules.len(), Ordering::Relaxed);
            if let Err(error) = held.put_in_force(&state, &self.maker) {
                warn!(tenant = &*tenant, %error, "the rules of a tenant are not in force");
            }
        }
        let (rules, milliseconds) = (self.count(), start.elapsed().as_millis() as u64);
        if rules > 0 {
            info!(rules, milliseconds, "rules of tenants are in force");
        }
        Ok(())
    }

    fn restored(&self, tenant: &Arc<str>, rule: &str, kept: Kept) -> Made {
        let made = kept.check().map_err(TenantProgramError::Unreadable).and_then(|()| {
            let outline = self.maker.outline(rule, &kept.source)?;
            self.maker.make(tenant, rule, kept.clone(), outline)
        });
        made.unwrap_or_else(|error| {
            let reason = error.to_string();
            warn!(tenant = &**tenant, rule, reason, "a tenant's rule does not load: it fails");
            self.maker.broken(tenant, rule, kept, reason)
        })
    }
}

/// One of the rules that all tenants together may have.
struct Room<'a>(Option<&'a AtomicUsize>);

impl Room<'_> {
    fn take(mut self) {
        self.0 = None;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
