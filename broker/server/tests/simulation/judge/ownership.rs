//! One owner of a session at a time: whoever has lost it is told so, and is not served any more.

use hookmq_codec::ReasonCode;

use super::{Account, Connection};
use crate::history::{Step, What, Wire};

pub fn judge(account: &Account<'_>, violations: &mut Vec<String>) {
    for links in account.by_client().into_values() {
        for (place, link) in links.iter().enumerate() {
            let mut newer = links[place + 1..].iter().filter(|it| it.is_served());
            let successor = newer.next();
            if let Some(successor) = successor.filter(|_| link.is_served()) {
                is_told(account, link, successor, violations);
                serves_no_more(account, link, successor, violations);
            }
        }
    }
}

/// A client of 5.0 that was connected when another came is told "session taken over".
fn is_told(
    account: &Account<'_>,
    link: &Connection,
    successor: &Connection,
    violations: &mut Vec<String>,
) {
    let (Some((_, coming)), Some((came, _))) = (&link.coming, &successor.coming) else { return };
    let Some((served, _)) = successor.answer else { return };
    let was_there = link.ends().is_none_or(|it| it > served);
    let was_blocked = link.blocked.is_some_and(|it| it > *came);
    // Whatever else ends it meanwhile is told in place of that.
    let began = link.answer.map_or(0, |(at, _)| at);
    let ended = |at: &usize| link.dropped.is_none_or(|it| *at < it) && *at > began;
    let is_broken = account.crashes().iter().chain(&account.stops()).any(ended);
    let is_cut = link.cut.is_some_and(|it| link.dropped.is_none_or(|dropped| it < dropped));
    if !coming.version.is_v5() || !was_there || was_blocked || is_broken || is_cut {
        return;
    }
    if link.told.map(|(_, code)| code) != Some(ReasonCode::SessionTakenOver) {
        let told = format!("connection {} was taken over by {}", link.number, successor.number);
        violations.push(format!("{told}, and was told {:?}", link.told));
    }
}

/// What an old connection sends behind the newer one's CONNACK has no effect, and it gets nothing that
/// has come to the broker since.
fn serves_no_more(
    account: &Account<'_>,
    link: &Connection,
    successor: &Connection,
    violations: &mut Vec<String>,
) {
    let Some((served, _)) = successor.answer else { return };
    let mut came_late = Vec::new();
    for (number, event) in account.events.iter().enumerate().skip(served) {
        if event.link != link.number {
            continue;
        }
        let is_served = match &event.what {
            What::Read(Wire::Publish(sent)) => {
                came_late.push(sent.id);
                false
            }
            What::Read(Wire::Subscribe(id, _) | Wire::Unsubscribe(id, _)) => {
                came_late.push(*id);
                false
            }
            What::Written(Wire::Ack(Step::Ack | Step::Rec, id, _))
            | What::Written(Wire::SubAck(id, _) | Wire::UnsubAck(id)) => came_late.contains(id),
            What::Written(Wire::Publish(sent)) => {
                account.messages.get(&*sent.key).is_some_and(|it| it.began > served)
            }
            _ => false,
        };
        if is_served {
            let (old, new) = (link.number, successor.number);
            violations
                .push(format!("event {number}: {old} is served, though {new} has its session"));
        }
    }
}
