//! Which shared subscriptions an allow to subscribe is good for.

use std::fmt;
use std::sync::Arc;

/// The names in `$share/NAME/FILTER`. A subscription that is not shared is always among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareNames {
    #[default]
    Any,
    /// Sorted.
    Only(Arc<[Box<str>]>),
}

impl ShareNames {
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Self::Only(names.into())
    }

    /// Reads a JSON array of names. What is none allows the least.
    pub(crate) fn lenient(json: &str) -> Self {
        Self::only(serde_json::from_str::<Vec<String>>(json).unwrap_or_default())
    }

    pub(super) fn include(&self, share_name: Option<&str>) -> bool {
        match (self, share_name) {
            (Self::Any, _) | (_, None) => true,
            (Self::Only(names), Some(wanted)) => names.iter().any(|name| &**name == wanted),
        }
    }

    pub(super) fn include_all(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Any, _) => true,
            (Self::Only(_), Self::Any) => false,
            (Self::Only(_), Self::Only(names)) => names.iter().all(|name| self.include(Some(name))),
        }
    }
}

impl fmt::Display for ShareNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("shared by any name"),
            Self::Only(names) if names.is_empty() => f.write_str("not shared"),
            Self::Only(names) => write!(f, "shared as {} alone", names.join(", ")),
        }
    }
}
