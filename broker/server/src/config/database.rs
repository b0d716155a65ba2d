//! The `database` section: where principals and permissions are, with secrets kept outside.

use std::env;
use std::path::Path;
use std::time::Duration;

use hookmq_access::{DatabaseSettings, DatabaseUrl, ForeignQueries};

use super::check::Check;
use super::document::DatabaseDocument;
use super::error::KeyPath;
use super::file::{OTHERS, read_secret};

/// None where the url has a problem.
pub(super) fn check(
    check: &mut Check,
    document: DatabaseDocument,
    data_dir: &Path,
) -> Option<DatabaseSettings> {
    let section = KeyPath::root("database");
    let (path, url) = match (&document.url, &document.url_file) {
        (None, None) => (section.clone(), Ok(DatabaseUrl::sqlite(data_dir.join("hookmq.db")))),
        (Some(url), None) => (section.key("url"), expand(url).and_then(|url| parse(check, &url))),
        (None, Some(file)) => {
            let url = read_url(&check.resolve(file));
            (section.key("url_file"), url.and_then(|url| parse(check, url.trim())))
        }
        (Some(_), Some(_)) => (section.key("url_file"), Err("there is `url`, too".into())),
    };
    if let Some(queries) = &document.queries {
        check_queries(check, &section, queries);
    }
    let url = url.map_err(|message| check.problem(&path, message)).ok()?;
    Some(DatabaseSettings {
        url,
        max_connections: document.max_connections,
        timeout: Duration::from_millis(document.timeout_ms),
        poll_interval: Duration::from_millis(document.poll_interval_ms),
        cache_ttl: Duration::from_millis(document.cache_ttl_ms),
        cached_principals: document.cached_principals,
        keep_known: Duration::from_millis(document.keep_known_ms),
        queries: document.queries,
    })
}

/// What the queries themselves are like, only the database can say.
fn check_queries(check: &mut Check, section: &KeyPath, queries: &ForeignQueries) {
    if queries.permissions.is_none() && queries.acl.is_none() && queries.superuser.is_none() {
        let message = "without `permissions`, `acl` or `superuser`, nobody could do anything";
        check.problem(&section.key("queries"), message);
    }
}

fn read_url(file: &Path) -> Result<String, String> {
    let secret = read_secret(file, OTHERS).map_err(|error| error.to_string())?;
    String::from_utf8(secret.expose().to_vec())
        .map_err(|_| format!("{} is not UTF-8 text", file.display()))
}

fn parse(check: &Check, text: &str) -> Result<DatabaseUrl, String> {
    let url: DatabaseUrl =
        text.parse().map_err(|error: hookmq_access::UrlError| error.to_string())?;
    Ok(match text.strip_prefix("sqlite:") {
        None => url,
        Some(path) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            DatabaseUrl::sqlite(check.resolve(Path::new(path)))
        }
    })
}

/// Puts the environment's variables in the place of `${NAME}`. What it puts in is not expanded again.
pub(super) fn expand(text: &str) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, behind) = behind.split_once('}').ok_or("`${` without `}`")?;
        let value =
            env::var(name).map_err(|_| format!("the environment variable {name:?} is not set"))?;
        expanded.extend([before, &value]);
        rest = behind;
    }
    Ok(expanded + rest)
}
