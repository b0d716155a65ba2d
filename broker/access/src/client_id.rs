//! Which client ids belong to somebody: `{username}`, `{username}-*`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use crate::token::Template;

/// A client id in terms of who the client is. With `*` at its end, what follows is the client's choice,
/// but for the character before the `*`: so that no id belongs to two names of which one begins with the
/// other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ClientIdRule {
    own: Template,
    /// What the client's choice must not hold; none where it has no choice.
    separator: Option<char>,
}

/// Why an id is not bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Who the client is makes no id, for this reason.
    Unfit(String),
    /// It claims an id that is not its own; what it should be.
    NotOwn(String),
}

impl ClientIdRule {
    /// The names in braces.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.own.fields()
    }

    /// The id to bind for a client that claims `claimed`, which is empty where it claims none. Where it
    /// has no choice this is its own id, and whether it claims another is looked at when all steps have
    /// been asked.
    pub(crate) fn bind<'a>(
        &self,
        claimed: &str,
        value: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Result<Arc<str>, Foreign> {
        let own = self.own.fill(value).map_err(Foreign::Unfit)?;
        let Some(separator) = self.separator else { return Ok(own.into()) };
        let chosen = claimed.strip_prefix(&*own);
        match chosen.filter(|chosen| !chosen.is_empty() && !chosen.contains(separator)) {
            Some(_) => Ok(claimed.into()),
            None => Err(Foreign::NotOwn(format!("{own}*"))),
        }
    }

    /// As [`ClientIdRule::bind`], for who is known by tenant and username alone.
    pub(crate) fn bind_named(
        &self,
        claimed: &str,
        tenant: &str,
        username: &str,
    ) -> Result<Arc<str>, Foreign> {
        self.bind(claimed, |field| match field {
            "username" => Some(username.to_owned().into()),
            "tenant" => Some(tenant.to_owned().into()),
            _ => None,
        })
    }
}

impl TryFrom<String> for ClientIdRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (own, separator) = match text.strip_suffix('*') {
            None => (&*text, None),
            Some(own) => match own.chars().next_back() {
                Some(separator) if separator != '}' => (own, Some(separator)),
                _ => return Err("before the * stands a character that ends what is bound".into()),
            },
        };
        let own = Template::try_from(own.to_owned()).map_err(|error| error.to_string())?;
        if own.fields().next().is_none() {
            return Err("it is the same for everybody: name a field, such as {username}".into());
        }
        Ok(Self { own, separator })
    }
}

/// A [`ClientIdRule`] in terms of `{username}` and `{tenant}` alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NamedClientIdRule(pub(crate) ClientIdRule);

impl TryFrom<String> for NamedClientIdRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rule = ClientIdRule::try_from(text)?;
        let unknown = |field: &&str| !matches!(*field, "username" | "tenant");
        if let Some(field) = rule.fields().find(unknown) {
            return Err(format!("{{{field}}} is none of {{username}} and {{tenant}}"));
        }
        Ok(Self(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(rule: &str, claimed: &str, username: &str) -> Result<String, Foreign> {
        let rule = ClientIdRule::try_from(rule.to_owned()).unwrap();
        rule.bind_named(claimed, "acme", username).map(|id| id.to_string())
    }

    #[test]
    fn an_id_without_a_choice_is_the_clients_own_whatever_it_claims() {
        for claimed in ["", "pump", "valve"] {
            assert_eq!(bound("{username}", claimed, "pump"), Ok("pump".into()));
        }
        assert_eq!(bound("{tenant}/{username}", "", "pump"), Ok("acme/pump".into()));
    }

    #[test]
    fn a_choice_begins_behind_the_own_part_and_holds_no_separator() {
        for (claimed, own) in [
            ("pump-1", true),
            ("pump-a.b", true),
            ("pump-", false),
            ("pump", false),
            ("", false),
            ("pumps-1", false),
            ("pump-1-2", false),
            ("Pump-1", false),
        ] {
            assert_eq!(bound("{username}-*", claimed, "pump").is_ok(), own, "{claimed:?}");
        }
    }

    #[test]
    fn no_id_belongs_to_two_usernames() {
        let names = ["a", "a-b", "a-b-c", "-", "--", "a-", ""];
        for claimed in ["a-b-c", "a-b-c-d", "a--x", "---", "--x", "a-b-", "-a"] {
            let owners = names.iter().filter(|name| bound("{username}-*", claimed, name).is_ok());
            assert!(owners.count() <= 1, "{claimed:?}");
        }
    }

    #[test]
    fn names_that_could_mean_two_things_own_nothing() {
        for username in ["", "*", "a+", " a", "a\u{200b}", "#"] {
            let refused = bound("{username}-*", &format!("{username}-1"), username);
            assert!(matches!(refused, Err(Foreign::Unfit(_))), "{username:?}");
        }
    }

    #[test]
    fn rules_that_bind_nothing_are_refused() {
        for text in ["", "*", "fixed", "x-*", "{username}*", "{username", "{}-*", "a}"] {
            assert!(ClientIdRule::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(NamedClientIdRule::try_from("{device}-*".to_owned()).is_err());
        assert!(NamedClientIdRule::try_from("{tenant}-{username}".to_owned()).is_ok());
    }
}
