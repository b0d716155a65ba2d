//! `hookmq tenant`: the tenants of a running broker.

mod plugin;
mod program;
mod rule;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use hookmq_access::Quota;
use hyper::Method;
use serde_json::{Map, Value, json};

use self::plugin::PluginCommand;
use self::rule::RuleCommand;
use super::api::Api;

#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Name the tenants, with what they use.
    List {
        #[command(flatten)]
        api: Api,
    },
    /// Print a tenant as JSON: its row, its quotas, and what it uses.
    Show(Named),
    /// Make a tenant.
    Create {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        facts: Facts,
    },
    /// Change attributes and quotas; what is not named stays.
    Set {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        facts: Facts,
    },
    /// Let its clients in again.
    Enable(Named),
    /// Disconnect its clients, and keep them out.
    Disable(Named),
    /// Tokens for the admin API that are good for the tenant alone.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The rules that the tenant owns.
    #[command(subcommand)]
    Rule(RuleCommand),
    /// The plugins that the tenant owns.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print the grants that let principals of other tenants in, and those of its own principals.
    Grants(Named),
    /// Let a principal of another tenant in. It is in force at once; print it.
    Grant {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        grant: Granted,
    },
    /// Withdraw a grant that lets a principal in.
    Revoke {
        #[command(flatten)]
        named: Named,
        /// Its number, as `grants` prints it.
        id: u64,
    },
    /// Delete it with its principals and permissions, its sessions and its retained messages.
    Delete {
        #[command(flatten)]
        named: Named,
        /// It cannot be undone.
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Name the tenant's tokens.
    List(Named),
    /// Make a token and print it, which is done once.
    Create {
        #[command(flatten)]
        named: Named,
        /// What it is called.
        token: String,
        /// How long it is good; for good without it.
        #[arg(long, value_name = "N")]
        expires_in_s: Option<u32>,
    },
    /// Have a token be good no more.
    Revoke {
        #[command(flatten)]
        named: Named,
        /// What it is called.
        token: String,
    },
}

#[derive(Debug, Args)]
pub struct Named {
    /// The tenant.
    name: String,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, Args)]
pub struct Granted {
    /// The tenant that the principal belongs to.
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// The principal.
    #[arg(long, value_name = "NAME")]
    username: String,
    /// Where it may publish, as the clients of the tenant that it reaches name it. May be repeated.
    #[arg(long, value_name = "FILTER", required_unless_present = "subscribe")]
    publish: Vec<String>,
    /// What it may subscribe to, likewise.
    #[arg(long, value_name = "FILTER")]
    subscribe: Vec<String>,
    /// How long it counts; for good without it.
    #[arg(long, value_name = "N")]
    expires_in_s: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Facts {
    /// All its attributes, as a JSON object.
    #[arg(long, value_name = "JSON")]
    attributes: Option<String>,
    /// A bound, such as `connections=100`; `none` in the place of the number takes it away. May be
    /// repeated.
    #[arg(long, value_name = "BOUND=NUMBER")]
    quota: Vec<String>,
    /// Take the quotas away: the defaults of the configuration count.
    #[arg(long, conflicts_with = "quota")]
    default_quotas: bool,
}

impl TenantCommand {
    pub fn run(&self) -> Result<()> {
        match self {
            Self::List { api } => list(api),
            Self::Show(named) => named.ask(Method::GET, &Value::Null),
            Self::Create { named, facts } => {
                let mut body = facts.body()?;
                body["name"] = json!(named.name);
                print(&named.api.request(
                    Method::POST,
                    "/tenants",
                    body.to_string().into_bytes(),
                )?)
            }
            Self::Set { named, facts } => named.ask(Method::PATCH, &facts.body()?),
            Self::Enable(named) => named.ask(Method::PATCH, &json!({"enabled": true})),
            Self::Disable(named) => named.ask(Method::PATCH, &json!({"enabled": false})),
            Self::Token(command) => command.run(),
            Self::Rule(command) => command.run(),
            Self::Plugin(command) => command.run(),
            Self::Grants(named) => {
                let path = format!("{}/grants", named.path());
                print(&named.api.request(Method::GET, &path, vec![])?["items"])
            }
            Self::Grant { named, grant } => {
                let path = format!("{}/grants", named.path());
                let body = grant.body().to_string().into_bytes();
                print(&named.api.request(Method::POST, &path, body)?)
            }
            Self::Revoke { named, id } => {
                let path = format!("{}/grants/{id}", named.path());
                named.api.request(Method::DELETE, &path, vec![])?;
                Ok(())
            }
            Self::Delete { named, .. } => {
                named.api.request(Method::DELETE, &named.path(), vec![])?;
                Ok(())
            }
        }
    }
}

impl TokenCommand {
    fn run(&self) -> Result<()> {
        match self {
            Self::List(named) => {
                let path = format!("{}/tokens", named.path());
                print(&named.api.request(Method::GET, &path, vec![])?["items"])
            }
            Self::Create { named, token, expires_in_s } => {
                let path = format!("{}/tokens", named.path());
                let body = json!({"name": token, "expires_in_s": expires_in_s});
                let made = named.api.request(Method::POST, &path, body.to_string().into_bytes())?;
                println!("{}", made["token"].as_str().unwrap_or_default());
                Ok(())
            }
            Self::Revoke { named, token } => {
                let path = format!("{}/tokens/{}", named.path(), segment(token));
                named.api.request(Method::DELETE, &path, vec![])?;
                Ok(())
            }
        }
    }
}

impl Named {
    fn ask(&self, method: Method, body: &Value) -> Result<()> {
        let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        print(&self.api.request(method, &self.path(), body)?)
    }

    fn path(&self) -> String {
        format!("/tenants/{}", segment(&self.name))
    }
}

impl Granted {
    fn body(&self) -> Value {
        json!({
            "tenant": self.tenant,
            "username": self.username,
            "publish": self.publish,
            "subscribe": self.subscribe,
            "expires_in_s": self.expires_in_s,
        })
    }
}

impl Facts {
    fn body(&self) -> Result<Value> {
        let mut body = json!({});
        if let Some(attributes) = &self.attributes {
            body["attributes"] = serde_json::from_str(attributes).context("--attributes")?;
        }
        if self.default_quotas {
            body["quotas"] = Value::Null;
        }
        if !self.quota.is_empty() {
            let bounds = self.quota.iter().map(|it| bound(it));
            body["quotas"] = Value::Object(bounds.collect::<Result<Map<_, _>>>()?);
        }
        Ok(body)
    }
}

fn bound(text: &str) -> Result<(String, Value)> {
    let (name, value) = text.split_once('=').context("--quota BOUND=NUMBER")?;
    let known = Quota::default().bounds().map(|(name, _)| name);
    if !known.contains(&name) {
        bail!("--quota {name}: there are {}", known.join(", "));
    }
    let value = match value {
        "none" => Value::Null,
        number => json!(number.parse::<u64>().with_context(|| format!("--quota {text}"))?),
    };
    Ok((name.to_owned(), value))
}

fn list(api: &Api) -> Result<()> {
    let mut after = String::new();
    loop {
        let page =
            api.request(Method::GET, &format!("/tenants?after={}", segment(&after)), vec![])?;
        for tenant in page["items"].as_array().into_iter().flatten() {
            let state = match (&tenant["enabled"], &tenant["usage"]) {
                (Value::Bool(false), _) => "disabled".to_owned(),
                (_, Value::Null) => "not in use".to_owned(),
                (_, usage) => format!(
                    "{} connections, {} sessions, {} subscriptions, {} retained",
                    usage["connections"],
                    usage["sessions"],
                    usage["subscriptions"],
                    usage["retained_messages"]
                ),
            };
            after = tenant["name"].as_str().unwrap_or_default().to_owned();
            println!("{}\t{state}", after.escape_debug());
        }
        if page["complete"] != false || after.is_empty() {
            return Ok(());
        }
    }
}

fn print(answer: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(answer)?);
    Ok(())
}

/// A name as one segment of a path, or as a value of a query.
fn segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            // A dot, too: `..` is not a name to every client.
            other => segment += &format!("%{other:02X}"),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("acme-1_x~"), "acme-1_x~");
        assert_eq!(segment("../a b?#%é"), "%2E%2E%2Fa%20b%3F%23%25%C3%A9");
    }

    #[test]
    fn a_bound_is_a_number_or_none() {
        assert_eq!(bound("sessions=5").unwrap(), ("sessions".into(), json!(5)));
        assert_eq!(bound("sessions=none").unwrap(), ("sessions".into(), Value::Null));
        for wrong in ["sessions", "sessions=", "sessions=-1", "tenants=5"] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }
}
