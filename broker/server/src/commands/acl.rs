//! `hookmq acl diff`: who would gain or lose what, before a change of the tables is made.

mod clients;
mod told;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use hookmq_access::{Database, PrincipalKey, Prospect, Whom};
use hookmq_hooks::ProgramKind;
use tokio::runtime::Builder;

use self::clients::Compared;
use self::told::Told;
use super::api::Api;
use crate::config::Config;

/// Bytes of a change.
const LONGEST_CHANGE: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
pub enum AclCommand {
    /// Try SQL in a transaction that is never committed, and tell who would gain or lose what. Ends with
    /// 1 where anybody loses, with 2 where it cannot be told.
    Diff(Box<DiffOptions>),
}

#[derive(Debug, Args)]
pub struct DiffOptions {
    /// The broker's configuration, which names the database.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// The change: statements without BEGIN and COMMIT.
    #[arg(long, value_name = "FILE")]
    sql: PathBuf,

    /// Compare connected clients of this tenant only.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["principal", "all_principals"])]
    tenant: Option<String>,

    /// Compare this principal, connected or not, without asking a broker; may be repeated.
    #[arg(long, value_name = "TENANT/USERNAME", value_parser = principal)]
    principal: Vec<(String, String)>,

    /// Compare all principals of the tables, without asking a broker.
    #[arg(long, conflicts_with = "principal")]
    all_principals: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    api: Api,
}

/// The name of a tenant has no slash in this notation; a username may.
fn principal(text: &str) -> Result<(String, String), &'static str> {
    let (tenant, username) = text.split_once('/').ok_or("it must be TENANT/USERNAME")?;
    Ok((tenant.to_owned(), username.to_owned()))
}

impl AclCommand {
    /// Prints what would change.
    ///
    /// # Errors
    /// Where the broker or the database is not reached, or the change fails or may not be tried.
    pub fn run(&self) -> Result<ExitCode> {
        let Self::Diff(options) = self;
        options.run()
    }
}

impl DiffOptions {
    fn run(&self) -> Result<ExitCode> {
        let config = Config::load(&self.config)?;
        let settings = config.database.as_ref();
        let settings = settings.context("no step of the configuration asks a database")?;
        let file = self.sql.display();
        let length = fs::metadata(&self.sql).with_context(|| format!("read {file}"))?.len();
        ensure!(length <= LONGEST_CHANGE, "{file} is longer than {LONGEST_CHANGE} bytes");
        let change = fs::read_to_string(&self.sql).with_context(|| format!("read {file}"))?;
        let connected = match self.all_principals || !self.principal.is_empty() {
            true => None,
            false => Some(clients::connected(&self.api, self.tenant.as_deref())?),
        };
        let whom = self.whom(connected.as_deref());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let prospects =
            runtime.block_on(async { Database::open(settings).foresee(&change, &whom).await });
        let prospects = prospects.with_context(|| format!("try {file} on the {}", settings.url))?;
        let mut told = Told::default();
        match connected {
            Some(clients) => {
                for client in &clients {
                    let demand = config.rights.receive.includes(&client.client);
                    match client.key.as_ref().and_then(|key| prospects.get(key)) {
                        Some(prospect) => told.client(client, prospect, demand),
                        None => told.not_looked_up += 1,
                    }
                }
            }
            None => {
                let mut all: Vec<(&PrincipalKey, &Prospect)> = prospects.iter().collect();
                all.sort_by_key(|(key, _)| (&key.tenant, &key.username));
                for (key, prospect) in all {
                    let client = Compared::described(key, prospect);
                    let demand = config.rights.receive.includes(&client.client);
                    told.client(&client, prospect, demand);
                }
            }
        }
        let authorize = config.pipeline.authorize.iter().map(|step| &step.program);
        told.others_decide = authorize
            .filter(|it| !(it.kind == ProgramKind::Builtin && &*it.name == "database"))
            .count()
            > 0;
        match self.json {
            true => println!("{:#}", told.to_json()),
            false => print!("{told}"),
        }
        Ok(if told.anybody_loses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    fn whom(&self, connected: Option<&[Compared]>) -> Whom {
        if self.all_principals {
            return Whom::AllPrincipals;
        }
        let named = self.principal.iter().map(|(tenant, username)| PrincipalKey {
            tenant: tenant.as_str().into(),
            username: username.as_str().into(),
            client_id: None,
            roles: Default::default(),
        });
        let connected = connected.unwrap_or_default();
        let mut keys: Vec<_> =
            named.chain(connected.iter().filter_map(|it| it.key.clone())).collect();
        keys.sort_by(|one, other| {
            let order = |key: &PrincipalKey| {
                (key.tenant.clone(), key.username.clone(), key.client_id.clone(), key.roles.clone())
            };
            order(one).cmp(&order(other))
        });
        keys.dedup();
        Whom::These(keys)
    }
}
