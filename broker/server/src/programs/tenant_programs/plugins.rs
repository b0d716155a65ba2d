//! How a plugin of a tenant is pushed: checked, compiled while the tenant's other changes go on, and put in
//! force if nothing is in its way then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookmq_hooks::ProgramKind;
use hookmq_wasm::{MachineCode, Manifest, Prepared};
use serde_json::Value;

use super::super::archive::digest;
use super::archive::{Kept, KeptPlugin, PluginVersion, Pushed};
use super::bounds::{CONFIG_BYTES, Room};
use super::held::{Held, Pushing, State, artefacts, disk_bytes};
use super::{Shown, TenantProgramError, TenantPrograms, now};

const KIND: ProgramKind = ProgramKind::Plugin;

/// Whose plugin it is, what it is called, and who pushes it.
struct Asked<'a> {
    tenant: &'a str,
    name: &'a str,
    who: &'a str,
}

/// A version that is compiled and may be put in force.
struct Candidate<'a> {
    artefact: &'a [u8],
    manifest: Manifest,
    version: PluginVersion,
    prepared: Prepared,
    /// None where the tenant's shelf has it.
    code: Option<MachineCode>,
}

impl TenantPrograms {
    /// The right to push a plugin of the tenant, to be had before the artefact is taken in.
    ///
    /// # Errors
    /// Where one is being pushed, or nobody can say what the tenant has.
    pub fn begin_push(&self, tenant: &Arc<str>) -> Result<Pushing, TenantProgramError> {
        let held = self.held(tenant);
        drop(held.readable()?);
        Pushing::begin(held)
    }

    /// Checks and compiles a plugin, tries it out, keeps it and puts it in force; says how it stands, and
    /// whether there was none of the name before.
    ///
    /// # Errors
    /// Why not; the version before stays in force.
    pub fn push_plugin(
        &self,
        (tenant, name): (&str, &str),
        artefact: &[u8],
        config: Option<&str>,
        who: &str,
        pushing: &Pushing,
    ) -> Result<(Shown, bool), TenantProgramError> {
        let held = pushing.held();
        let is_new = {
            let mut state = held.readable()?;
            self.admit_change(&mut state)?;
            let (size, most) = (artefact.len(), self.maker.plugins.plugin_bytes);
            if size > most {
                return Err(TenantProgramError::TooLong { kind: KIND, size, most });
            }
            state.admit(KIND, name, self.maker.plugins.plugins_per_tenant)?
        };
        let asked = Asked { tenant, name, who };
        let shown = self.replace(&asked, artefact, configuration(config)?, held)?;
        Ok((shown, is_new))
    }

    /// Puts the version before in force again, with its configuration; which may be gone back from in turn.
    ///
    /// # Errors
    /// As [`Self::push_plugin`], and where there is none.
    pub fn roll_back_plugin(
        &self,
        (tenant, name): (&str, &str),
        who: &str,
        pushing: &Pushing,
    ) -> Result<Shown, TenantProgramError> {
        let held = pushing.held();
        let previous = {
            let mut state = held.readable()?;
            self.admit_change(&mut state)?;
            let plugin = state.find(KIND, name)?.kept.as_plugin();
            let previous = plugin.and_then(|plugin| plugin.previous.clone());
            previous.ok_or(TenantProgramError::NoPrevious(KIND))?
        };
        let artefact = self.archive.shelf(tenant).read(&previous.sha256);
        let artefact = artefact.map_err(TenantProgramError::Unreadable)?;
        self.replace(&Asked { tenant, name, who }, &artefact, previous.config, held)
    }

    /// Puts a version in force, unless it is.
    fn replace(
        &self,
        asked: &Asked<'_>,
        artefact: &[u8],
        config: Value,
        held: &Held,
    ) -> Result<Shown, TenantProgramError> {
        let sha256 = digest(artefact);
        {
            let state = held.readable()?;
            let made = state.find(KIND, asked.name).ok().filter(|made| made.problem().is_none());
            let present = made.and_then(|made| made.kept.as_plugin()).map(|it| &it.version);
            if present.is_some_and(|it| it.sha256 == sha256 && it.config == config) {
                return state.shown(asked.tenant, KIND, asked.name);
            }
        }
        let mut busy = Duration::ZERO;
        let candidate = self.candidate(asked.tenant, artefact, sha256, config, &mut busy);
        // Time of a processor is what a tenant could take from all others: a second counts as a change.
        let seconds = busy.as_secs().try_into().unwrap_or(u32::MAX);
        let mut state = held.readable()?;
        state.pace.charge(seconds);
        drop(state);
        self.put_plugin(asked, candidate?, held)
    }

    /// Checks and compiles; while it does, nothing of the tenant's is locked.
    fn candidate<'a>(
        &self,
        tenant: &str,
        artefact: &'a [u8],
        sha256: String,
        config: Value,
        busy: &mut Duration,
    ) -> Result<Candidate<'a>, TenantProgramError> {
        let manifest = self.maker.manifest(artefact)?;
        let shelf = self.archive.shelf(tenant);
        let (prepared, code) = match self.maker.find(artefact, &shelf)? {
            Some(prepared) => (prepared, None),
            None => {
                let (prepared, code) = self.maker.compile(artefact, busy)?;
                (prepared, Some(code))
            }
        };
        let compiled_bytes = match &code {
            Some(code) => code.bytes(),
            None => shelf.code_bytes(&sha256),
        };
        let (version, bytes) = (manifest.version.clone(), artefact.len() as u64);
        let version = PluginVersion { sha256, version, config, bytes, compiled_bytes };
        Ok(Candidate { artefact, manifest, version, prepared, code })
    }

    /// Tries a version out, keeps it, and puts it in force.
    fn put_plugin(
        &self,
        asked: &Asked<'_>,
        candidate: Candidate<'_>,
        held: &Held,
    ) -> Result<Shown, TenantProgramError> {
        let Candidate { artefact, manifest, version, prepared, code } = candidate;
        let (tenant, name) = (asked.tenant, asked.name);
        let mut state = held.readable()?;
        let is_new = state.admit(KIND, name, self.maker.plugins.plugins_per_tenant)?;
        let kept = KeptPlugin {
            previous: before(&state, name, &version),
            version,
            pushed: Pushed::new(now(), asked.who, manifest.hooks, &manifest.topics),
        };
        let made = self.maker.make_plugin(tenant, name, kept, &prepared)?;
        made.try_out()?;
        let rooms = self.rooms(&state, name, &made.kept, is_new)?;
        let shelf = self.archive.shelf(tenant);
        let sha256 = made.kept.sha256().to_owned();
        let put = shelf
            .keep(&sha256, artefact)
            .and_then(|()| code.map_or(Ok(()), |code| code.keep(shelf.directory())))
            .map_err(TenantProgramError::Archive)
            .and_then(|()| self.put(tenant, name, made, held, &mut state));
        // What was in force before, or is now, stays.
        shelf.tidy(&artefacts(state.kept().map(|(_, kept)| kept)));
        put?;
        rooms.into_iter().for_each(Room::take);
        state.shown(tenant, KIND, name)
    }

    /// Room for a plugin among those of all tenants, and on the disk.
    fn rooms(
        &self,
        state: &State,
        name: &str,
        kept: &Kept,
        is_new: bool,
    ) -> Result<[Room<'_>; 2], TenantProgramError> {
        let options = &self.maker.plugins;
        let most = options.plugins;
        let place = self.counts.plugins.change(0, is_new.into(), most as u64);
        let place = place.ok_or(TenantProgramError::Full { kind: KIND, most })?;
        let before = disk_bytes(state.kept().map(|(_, kept)| kept));
        let mut all: BTreeMap<_, _> = state.kept().collect();
        all.insert(name, kept);
        let (bytes, most) = (disk_bytes(all.into_values()), options.disk_bytes_per_tenant);
        if bytes > most && bytes > before {
            return Err(TenantProgramError::TooMuchDisk { bytes, most });
        }
        let disk = self.counts.disk().change(before, bytes, options.disk_bytes);
        Ok([place, disk.ok_or(TenantProgramError::DiskFull(options.disk_bytes))?])
    }
}

/// What a rollback from `version` puts in force.
fn before(state: &State, name: &str, version: &PluginVersion) -> Option<PluginVersion> {
    let present = state.find(KIND, name).ok()?.kept.as_plugin()?;
    let is_same =
        present.version.sha256 == version.sha256 && present.version.config == version.config;
    match is_same {
        true => present.previous.clone(),
        false => Some(present.version.clone()),
    }
}

/// The configuration of a plugin; null lets it use its defaults.
fn configuration(text: Option<&str>) -> Result<Value, TenantProgramError> {
    let Some(text) = text else { return Ok(Value::Null) };
    if text.len() > CONFIG_BYTES {
        return Err(TenantProgramError::ConfigTooLong { size: text.len() });
    }
    serde_json::from_str(text).map_err(TenantProgramError::Config)
}
