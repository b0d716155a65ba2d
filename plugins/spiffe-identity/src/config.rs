//! What the operator configures, and what is made of it.

use serde::Deserialize;

use crate::spiffe_id::check_trust_domain;
use crate::template::{PathPattern, Template};

/// More would make every CONNECT slow.
const MAX_TRUST_DOMAINS: usize = 64;
const MAX_PATHS: usize = 256;
const MAX_ROLES: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub trust_domains: Vec<TrustDomainConfig>,
    pub verdict: Verdict,
    pub expiry: Expiry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDomainConfig {
    pub name: String,
    /// The anchors that may vouch for this trust domain, by their names in the broker's file.
    pub trust_anchors: Vec<String>,
    /// The first that fits is taken.
    pub paths: Vec<PathConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathConfig {
    pub path: String,
    pub tenant: String,
    pub username: String,
    pub client_id: Option<String>,
    #[serde(default)]
    pub roles: Vec<String>,
}

/// What the step answers about a client that it knows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    #[default]
    Accept,
    /// Later steps decide.
    Next,
}

/// What becomes of the connection when the certificate's time is over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    #[default]
    Disconnect,
    Ignore,
}

#[derive(Debug)]
pub struct TrustDomain {
    pub name: String,
    pub trust_anchors: Vec<String>,
    pub paths: Vec<Mapping>,
}

/// Whom a path stands for.
#[derive(Debug)]
pub struct Mapping {
    pub path: PathPattern,
    pub tenant: Template,
    pub username: Template,
    pub client_id: Option<Template>,
    pub roles: Vec<Template>,
}

/// # Errors
/// Names the key.
pub fn trust_domains(configured: Vec<TrustDomainConfig>) -> Result<Vec<TrustDomain>, String> {
    check_count("trust_domains", configured.len(), MAX_TRUST_DOMAINS)?;
    let mut domains: Vec<TrustDomain> = Vec::new();
    for (index, domain) in configured.into_iter().enumerate() {
        let domain = trust_domain(domain).map_err(|why| format!("trust_domains[{index}].{why}"))?;
        if domains.iter().any(|other| other.name == domain.name) {
            return Err(format!("trust_domains[{index}].name: {:?} stands twice", domain.name));
        }
        domains.push(domain);
    }
    Ok(domains)
}

fn trust_domain(config: TrustDomainConfig) -> Result<TrustDomain, String> {
    let TrustDomainConfig { name, trust_anchors, paths } = config;
    check_trust_domain(&name).map_err(|why| format!("name: {name:?}: {why}"))?;
    check_count("trust_anchors", trust_anchors.len(), MAX_TRUST_DOMAINS)?;
    check_count("paths", paths.len(), MAX_PATHS)?;
    let mapping = |(index, path)| mapping(&path).map_err(|why| format!("paths[{index}].{why}"));
    let paths = paths.into_iter().enumerate().map(mapping).collect::<Result<_, _>>()?;
    Ok(TrustDomain { name, trust_anchors, paths })
}

fn mapping(config: &PathConfig) -> Result<Mapping, String> {
    let path = PathPattern::parse(&config.path)
        .map_err(|why| format!("path: {:?}: {why}", config.path))?;
    let template = |key: &str, text: &str| {
        Template::parse(text, &path).map_err(|why| format!("{key}: {text:?}: {why}"))
    };
    if config.roles.len() > MAX_ROLES {
        return Err(format!("roles: at most {MAX_ROLES} are possible"));
    }
    Ok(Mapping {
        tenant: template("tenant", &config.tenant)?,
        username: template("username", &config.username)?,
        client_id: config.client_id.as_ref().map(|id| template("client_id", id)).transpose()?,
        roles: config.roles.iter().map(|role| template("roles", role)).collect::<Result<_, _>>()?,
        path,
    })
}

fn check_count(key: &str, count: usize, most: usize) -> Result<(), String> {
    match count {
        0 => Err(format!("{key}: at least one is needed")),
        _ if count > most => Err(format!("{key}: at most {most} are possible")),
        _ => Ok(()),
    }
}
