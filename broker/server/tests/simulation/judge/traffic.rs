//! What one connection may see: receive maximum, packet ids, acknowledgements of what came.

use std::collections::{BTreeMap, HashMap, HashSet};

use hookmq_codec::Qos;

use super::Account;
use crate::history::{Sent, Step, What, Wire};

/// A connection while it lasts.
#[derive(Default)]
struct Talk {
    /// Packet ids of what the broker has sent and the client has not acknowledged.
    under_way: HashSet<u16>,
    /// Packet ids of what the client has sent, with its QoS.
    came: HashMap<u16, Qos>,
}

/// What of QoS 2 a session has under way, by packet id.
type Exactly = BTreeMap<u16, String>;

pub fn judge(account: &Account<'_>, violations: &mut Vec<String>) {
    let mut talks: HashMap<usize, Talk> = HashMap::new();
    let mut sessions: HashMap<usize, Exactly> = HashMap::new();
    for (number, event) in account.events.iter().enumerate() {
        let Some(link) = account.links.get(&event.link) else { continue };
        let talk = talks.entry(event.link).or_default();
        let complaint = match &event.what {
            What::Written(Wire::Publish(sent)) if sent.id > 0 => {
                let most = link.coming.as_ref().map_or(0, |(_, it)| it.receive_maximum);
                let exactly = link.incarnation.map(|it| sessions.entry(it).or_default());
                sent_to(talk, most, sent).or_else(|| kept_id(exactly?, sent))
            }
            What::Written(Wire::Publish(sent)) if sent.dup => {
                Some(format!("{} of QoS 0 is said to come again", sent.key))
            }
            What::Read(Wire::Publish(sent)) => {
                talk.came.insert(sent.id, sent.qos);
                None
            }
            What::Read(Wire::Ack(step, id, code)) => {
                if *step != Step::Rel && (*step != Step::Rec || code.is_failure()) {
                    talk.under_way.remove(id);
                }
                if *step == Step::Comp
                    && let Some(incarnation) = link.incarnation
                {
                    sessions.entry(incarnation).or_default().remove(id);
                }
                None
            }
            What::Written(Wire::Ack(step, id, _)) => answered(talk, *step, *id),
            _ => None,
        };
        violations.extend(complaint.map(|it| format!("event {number}: {it}")));
    }
}

fn sent_to(talk: &mut Talk, most: u16, sent: &Sent) -> Option<String> {
    if !talk.under_way.insert(sent.id) {
        return Some(format!("packet id {} is used twice at once", sent.id));
    }
    let count = talk.under_way.len();
    (count > usize::from(most)).then(|| format!("{count} messages exceed receive maximum {most}"))
}

/// A message of QoS 2 keeps its packet id, and the id its message, until it is completed.
fn kept_id(exactly: &mut Exactly, sent: &Sent) -> Option<String> {
    if sent.qos != Qos::ExactlyOnce || sent.retain {
        return None;
    }
    let other = exactly.iter().find(|(id, key)| **key == sent.key && **id != sent.id);
    if let Some((id, key)) = other {
        return Some(format!("{key} of QoS 2 was sent under {id} and is sent under {}", sent.id));
    }
    match exactly.insert(sent.id, sent.key.clone()) {
        Some(before) if before != sent.key => {
            Some(format!("{} takes the packet id of {before}, which is under way", sent.key))
        }
        _ => None,
    }
}

fn answered(talk: &Talk, step: Step, id: u16) -> Option<String> {
    let expected = match step {
        Step::Ack => Qos::AtLeastOnce,
        Step::Rec => Qos::ExactlyOnce,
        Step::Rel | Step::Comp => return None,
    };
    let came = talk.came.get(&id) == Some(&expected);
    (!came).then(|| format!("PUB{step:?} {id} answers nothing that came"))
}
