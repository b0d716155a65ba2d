//! HookMQ as it comes, but for who is let in and where it listens.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Guest, Place, Setting, mosquitto, output, programs};

/// Whose the users are.
const TENANT: &str = "bench";
const TENANT_RULE: &str = "\
fn connect(client) {
    accept(#{ tenant: client.claimed_username, username: client.claimed_username })
}
";

pub fn command(place: &Place<'_>, setting: Setting) -> Result<Command> {
    let file = place.directory.join("hookmq.yaml");
    fs::write(&file, configuration(place, setting)?)?;
    if setting == Setting::TenantsByName {
        fs::create_dir(place.directory.join("rules"))?;
        fs::write(place.directory.join("rules/tenant_by_name.rhai"), TENANT_RULE)?;
    }
    let mut command = hookmq()?;
    command.args(["run", "--config"]).arg(file);
    Ok(command)
}

/// Puts the users of Mosquitto's files into the broker's database.
pub fn add_users(directory: &Path) -> Result<()> {
    let mut import = hookmq()?;
    import.args(["import", "mosquitto", "--tenant", TENANT, "--passwd"]);
    import.arg(directory.join(mosquitto::PASSWORDS));
    import.arg("--acl").arg(directory.join(mosquitto::PERMISSIONS));
    let statements = directory.join("users.sql");
    fs::write(&statements, output(&mut import)?)?;
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-bail", "-cmd", ".timeout 10000"]).arg(directory.join("data/hookmq.db"));
    output(sqlite.stdin(File::open(statements)?))?;
    Ok(())
}

fn hookmq() -> Result<Command> {
    let mut command = Command::new(programs()?.join("hookmq"));
    command.env("NO_COLOR", "1").env_remove("HOOKMQ_LOG");
    Ok(command)
}

fn configuration(place: &Place<'_>, setting: Setting) -> Result<String> {
    let scheme = match setting {
        Setting::Tls => "tls",
        Setting::WebSocket => "ws",
        _ => "tcp",
    };
    let tls = match setting {
        Setting::Tls => ", tls: {certificate: server.crt, key: server.key}",
        _ => "",
    };
    let port = place.port;
    let pipeline = match setting {
        Setting::Users(_) => format!(
            "
  connect: [{{builtin: password, config: {{tenant: {TENANT}}}}}, {{builtin: database}}]
  authorize: [{{builtin: database}}]"
        ),
        Setting::TenantsByName => "
  connect: [{rule: tenant_by_name}]
  authorize: [{builtin: open}]
rules: {dir: rules}"
            .to_owned(),
        Setting::Hooks(guest) => hooks(guest)?,
        Setting::Open | Setting::Stored | Setting::Tls | Setting::WebSocket => OPEN.to_owned(),
    };
    let database = match setting {
        Setting::Users(_) => "database: {url: \"sqlite:data/hookmq.db\"}",
        _ => "",
    };
    Ok(format!(
        "data_dir: data
listeners: [{{name: main, bind: \"{scheme}://127.0.0.1:{port}\"{tls}}}]
log: {{level: warn}}
{database}
pipeline:{pipeline}
"
    ))
}

const OPEN: &str = "
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]";

fn hooks(guest: Guest) -> Result<String> {
    let (plugin, config, grants) = match guest {
        Guest::RateGuard => (
            "rate-guard",
            "{limits: [{topics: [\"#\"], rate: 1000000}]}",
            "{log: true, metric: true, clock: true, kv: true}",
        ),
        Guest::JsonTransform => (
            "json-transform",
            "{operations: [{op: timestamp, field: received_at}]}",
            "{log: true, clock: true}",
        ),
    };
    let rules = std::env::current_dir()?.join("rules");
    let built = programs()?.join("../plugins");
    let plugins = built.canonicalize().with_context(|| format!("{}", built.display()))?;
    Ok(format!(
        "{OPEN}
  publish:
    - plugin: {plugin}
      topics: [\"#\"]
      config: {config}
    - rule: threshold_alarm
plugins:
  dir: {}
  grants: {{{plugin}: {grants}}}
rules: {{dir: {}}}",
        plugins.display(),
        rules.display()
    ))
}
