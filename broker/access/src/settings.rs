//! The configuration of the database and of how long its answers are believed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use sqlx::postgres::PgConnectOptions;

use crate::ForeignQueries;

/// Where principals and permissions are kept, and on what terms they are asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host:5432/database` or `sqlite:path/to/file`.
    pub url: DatabaseUrl,
    /// Also bounds how many look-ups run at once.
    pub max_connections: u32,
    /// Of all look-ups for one client that connects, at most half of it for each wait until a connection
    /// is free. A client is refused after it.
    #[serde(rename = "timeout_ms", deserialize_with = "milliseconds")]
    pub timeout: Duration,
    /// How often the change log is read: how late a change reaches connected clients where the
    /// database does not call. Postgres does.
    #[serde(rename = "poll_interval_ms", deserialize_with = "milliseconds")]
    pub poll_interval: Duration,
    /// How long an answer is taken from memory while the change log says nothing against it.
    #[serde(rename = "cache_ttl_ms", deserialize_with = "milliseconds")]
    pub cache_ttl: Duration,
    /// Answers that are remembered, those that refuse included.
    pub cached_principals: usize,
    /// How long known principals go on after the last contact with the database.
    #[serde(rename = "keep_known_ms", deserialize_with = "milliseconds")]
    pub keep_known: Duration,
    /// Where the tables are not the broker's own. Nothing is written there then.
    pub queries: Option<ForeignQueries>,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: DatabaseUrl(Kind::Sqlite("hookmq.db".into())),
            max_connections: 8,
            timeout: Duration::from_millis(1500),
            poll_interval: Duration::from_millis(250),
            cache_ttl: Duration::from_secs(30),
            cached_principals: 10_000,
            keep_known: Duration::from_secs(300),
            queries: None,
        }
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// A database's address. It may hold a password: `Debug` and `Display` leave it out.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseUrl(Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Postgres { options: Box<PgConnectOptions>, text: String },
    Sqlite(PathBuf),
}

/// Why a text is no database's address. Does not repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("a database url starts with postgres:// or sqlite:")]
    Scheme,
    #[error("the postgres url cannot be read: {0}")]
    Postgres(String),
    #[error("a sqlite url is sqlite: and the path of a file, without parameters")]
    Sqlite,
}

impl DatabaseUrl {
    /// The SQLite file at `path`.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self(Kind::Sqlite(path.as_ref().to_owned()))
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl std::str::FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains([':', '?', '\0']) {
                return Err(UrlError::Sqlite);
            }
            return Ok(Self::sqlite(path));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let options: PgConnectOptions =
            text.parse().map_err(|error: sqlx::Error| UrlError::Postgres(error.to_string()))?;
        let options = Box::new(options.application_name("hookmq"));
        Ok(Self(Kind::Postgres { options, text: text.to_owned() }))
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite file {}", path.display()),
            Kind::Postgres { options, .. } => {
                write!(
                    f,
                    "postgres database {:?} at ",
                    options.get_database().unwrap_or_default()
                )?;
                match options.get_socket() {
                    Some(socket) => write!(f, "{}", socket.display()),
                    None => write!(f, "{}:{}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Equal where they were written alike.
impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Sqlite(one), Kind::Sqlite(other)) => one == other,
            (Kind::Postgres { text: one, .. }, Kind::Postgres { text: other, .. }) => one == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_never_shows_its_password() {
        let url: DatabaseUrl = "postgres://hookmq:geheim@db.example:5433/mq".parse().unwrap();
        let settings = DatabaseSettings { url, ..DatabaseSettings::default() };
        let shown = format!("{settings:?} {}", settings.url);
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(shown.contains(r#"postgres database "mq" at db.example:5433"#), "{shown}");
        let refused = "postgres://hookmq:geheim@db.example:port/mq".parse::<DatabaseUrl>();
        assert!(!refused.unwrap_err().to_string().contains("geheim"));
    }

    #[test]
    fn urls_are_checked_when_they_are_read() {
        let table = [
            ("sqlite:a/b.db", "sqlite file a/b.db"),
            ("sqlite:///var/lib/mq.db", "sqlite file /var/lib/mq.db"),
        ];
        for (text, shown) in table {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap().to_string(), shown);
        }
        for text in ["sqlite:", "sqlite::memory:", "sqlite:a?mode=ro"] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(UrlError::Sqlite), "{text}");
        }
        assert_eq!("mysql://a/b".parse::<DatabaseUrl>(), Err(UrlError::Scheme));
    }

    #[test]
    fn settings_name_their_units_and_refuse_unknown_keys() {
        let settings: DatabaseSettings =
            serde_json::from_str(r#"{"url": "sqlite:x.db", "timeout_ms": 250}"#).unwrap();
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.max_connections, 8);
        assert!(serde_json::from_str::<DatabaseSettings>(r#"{"time_out": 1}"#).is_err());
    }
}
