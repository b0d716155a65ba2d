//! What is told of each client: what it would lose, and what it would gain.

use std::fmt;
use std::sync::Arc;

use hookmq_access::{
    Answer, BoundPermissions, DirectoryError, Holder, Leave, Principal, Prospect, ReceiveAsked,
    Ruling, ShareNames, compare,
};
use hookmq_codec::{Qos, TopicFilter};
use hookmq_hooks::{Access, Action, Client};
use serde_json::{Value, json};

use super::clients::Compared;

/// All that would change.
#[derive(Default)]
pub(super) struct Told {
    compared: usize,
    lines: Vec<Line>,
    /// Of whom not all could be compared.
    incomplete: Vec<String>,
    /// Clients that the step `database` has not let in.
    pub not_looked_up: usize,
    /// Other authorize steps have a say.
    pub others_decide: bool,
}

struct Line {
    tenant: Arc<str>,
    client_id: Arc<str>,
    username: Arc<str>,
    what: &'static str,
    filter: String,
    before: String,
    after: String,
    effect: Effect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Loss,
    Gain,
    Both,
}

impl Told {
    pub(super) fn client(&mut self, it: &Compared, prospect: &Prospect, demands_receive: bool) {
        self.compared += 1;
        let (before, after) = match (admitted(&prospect.before), admitted(&prospect.after)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(_), Err(_)) => return,
            (Ok(_), Err(why)) => {
                return self.line(it, "connection", "", ("admitted".into(), why), Effect::Loss);
            }
            (Err(why), Ok(_)) => {
                return self.line(it, "connection", "", (why, "admitted".into()), Effect::Gain);
            }
        };
        let (before, after) = (bind(before, &it.client), bind(after, &it.client));
        let mut whole = it.subscriptions.is_some();
        for (filter, qos) in it.subscriptions.iter().flatten() {
            if let Some(now) = verdict(&before, &after, filter, *qos) {
                let said = (format!("QoS {}", *qos as u8), now);
                self.line(it, "subscription", filter.as_str(), said, Effect::Loss);
            }
        }
        let asked = match demands_receive {
            true => ReceiveAsked::Always,
            false => ReceiveAsked::WhereStated,
        };
        let comparison = compare(&before, &after, asked);
        whole &= comparison.complete;
        for difference in comparison.differences {
            let effect = match (difference.loses(), difference.gains()) {
                (true, true) => Effect::Both,
                (true, false) => Effect::Loss,
                (false, _) => Effect::Gain,
            };
            let said = (leave(&difference.before), leave(&difference.after));
            self.line(it, difference.action, &difference.filter, said, effect);
        }
        if !whole {
            self.incomplete.push(who(&it.client));
        }
    }

    fn line(
        &mut self,
        it: &Compared,
        what: &'static str,
        filter: &str,
        (before, after): (String, String),
        effect: Effect,
    ) {
        let Client { tenant, client_id, username, .. } = &it.client;
        let (tenant, client_id, username) = (tenant.clone(), client_id.clone(), username.clone());
        let filter = filter.to_owned();
        self.lines.push(Line { tenant, client_id, username, what, filter, before, after, effect });
    }

    /// Also where nobody can say.
    pub(super) fn anybody_loses(&self) -> bool {
        !self.incomplete.is_empty() || self.lines.iter().any(|line| line.effect != Effect::Gain)
    }

    pub(super) fn to_json(&self) -> Value {
        let line = |line: &Line| {
            json!({
                "tenant": line.tenant,
                "client_id": line.client_id,
                "username": line.username,
                "what": line.what,
                "filter": line.filter,
                "before": line.before,
                "after": line.after,
                "loss": line.effect != Effect::Gain,
                "gain": line.effect != Effect::Loss,
            })
        };
        json!({
            "compared": self.compared,
            "not_looked_up": self.not_looked_up,
            "incomplete": self.incomplete,
            "other_steps_decide": self.others_decide,
            "anybody_loses": self.anybody_loses(),
            "items": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }
}

/// A line each, those who lose first. What clients have chosen stands escaped.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (losses, gains): (Vec<_>, Vec<_>) =
            self.lines.iter().partition(|line| line.effect != Effect::Gain);
        for line in losses.into_iter().chain(gains) {
            let sign = match line.effect {
                Effect::Loss => '-',
                Effect::Gain => '+',
                Effect::Both => '~',
            };
            let Line { tenant, client_id, username, what, filter, before, after, .. } = line;
            let whose = match &**client_id {
                "" => format!("{tenant}/{username}"),
                client_id => format!("{tenant}/{username} ({client_id})"),
            };
            let (whose, filter) = (whose.escape_debug(), filter.escape_debug());
            writeln!(f, "{sign} {whose:<32} {what:<12} {filter:<32} {before} -> {after}")?;
        }
        for whose in &self.incomplete {
            writeln!(f, "! {} could not be compared in full", whose.escape_debug())?;
        }
        if self.not_looked_up > 0 {
            writeln!(f, "! {} clients are not of the step `database`", self.not_looked_up)?;
        }
        if self.others_decide {
            writeln!(f, "! other authorize steps have a say, which is not compared")?;
        }
        let changed = if self.anybody_loses() { "somebody loses" } else { "nobody loses" };
        writeln!(f, "{} compared, {} differences: {changed}", self.compared, self.lines.len())
    }
}

fn who(Client { tenant, username, client_id, .. }: &Client) -> String {
    format!("{tenant}/{username} ({client_id})")
}

fn admitted(answer: &Result<Answer, DirectoryError>) -> Result<&Principal, String> {
    match answer {
        Ok(Ok(principal)) => Ok(principal),
        Ok(Err(refused)) => Err(refused.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn bind(principal: &Principal, client: &Client) -> BoundPermissions {
    let attributes = &principal.attributes_beside(&client.attributes);
    principal.permissions.bind(&Holder {
        tenant: &client.tenant,
        username: &client.username,
        client_id: client.client_id_bound.then_some(&*client.client_id),
        attributes,
    })
}

/// What becomes of a subscription, if it changes. One that the permissions have not allowed is another
/// step's, until they deny it.
fn verdict(
    before: &BoundPermissions,
    after: &BoundPermissions,
    filter: &TopicFilter,
    granted: Qos,
) -> Option<String> {
    let (topic, share_name) = (filter.bare(), filter.share_name());
    let access =
        Access { action: Action::Subscribe, topic, qos: granted, retain: false, share_name };
    match (before.decide(&access), after.decide(&access)) {
        (Ruling::Allow { maximum_qos: old, .. }, Ruling::Allow { maximum_qos, .. })
            if maximum_qos < granted.min(old) =>
        {
            Some(format!("QoS {}", maximum_qos as u8))
        }
        (_, Ruling::Allow { .. }) | (Ruling::NoMatch, Ruling::NoMatch) => None,
        (Ruling::Deny { .. }, Ruling::Deny { .. } | Ruling::NoMatch) => None,
        (Ruling::Allow { .. } | Ruling::NoMatch, Ruling::Deny { .. })
        | (Ruling::Allow { .. }, Ruling::NoMatch) => Some("ended".into()),
    }
}

fn leave(leave: &Leave) -> String {
    match leave {
        Leave::No => "denied".into(),
        Leave::Yes { maximum_qos, retain, share_names } => {
            let mut said = format!("QoS {}", *maximum_qos as u8);
            if !retain {
                said += ", nothing retained";
            }
            if *share_names != ShareNames::Any {
                said += &format!(", {share_names}");
            }
            said
        }
    }
}
