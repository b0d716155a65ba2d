//! Wills: of whom goes without a word, and of nobody who has said good-bye.

use std::collections::HashSet;
use std::time::Duration;

use hookmq_codec::{Qos, ReasonCode};

use super::{Account, Connection};
use crate::history::{What, WillOf};

/// The client that is subscribed to all wills.
const WITNESS: usize = 0;

/// Time for a will to be published once it is due.
const SLACK: Duration = Duration::from_secs(5);

pub fn judge(account: &Account<'_>, violations: &mut Vec<String>) {
    let (mut published, mut witnessed) = (HashSet::new(), HashSet::new());
    for event in account.events {
        if let What::Delivered(sent) = &event.what
            && sent.key.starts_with('w')
        {
            published.insert(&*sent.key);
            if account.links[&event.link].client == WITNESS {
                witnessed.insert(&*sent.key);
            }
        }
    }
    for links in account.by_client().into_values() {
        for (place, link) in links.iter().enumerate() {
            let Some((_, coming)) = &link.coming else { continue };
            let Some(will) = &coming.will else { continue };
            let later = &links[place + 1..];
            if published.contains(&*will.key) && must_not(account, link, will, later) {
                violations.push(format!("will {} is published, of a client that left", will.key));
            }
            let is_seen = will.qos > Qos::AtMostOnce && is_witness_there(account, link);
            if is_seen && must(account, link, will, later) && !witnessed.contains(&*will.key) {
                violations.push(format!("will {} is not published", will.key));
            }
        }
    }
}

/// Whether the witness was subscribed when the will was accepted, and was to the end.
fn is_witness_there(account: &Account<'_>, link: &Connection) -> bool {
    let Some((accepted, _)) = link.answer else { return false };
    account
        .incarnations
        .iter()
        .filter(|it| it.client == WITNESS && it.ends.is_none())
        .any(|it| it.subscriptions.iter().any(|it| it.surely_brings("w/0", accepted)))
}

fn must_not(
    account: &Account<'_>,
    link: &Connection,
    will: &WillOf,
    later: &[&Connection],
) -> bool {
    let Some((answered, _)) = link.answer else { return false };
    let Some(ends) = link.ends() else { return true };
    let came_next = later.first().and_then(|it| it.coming.as_ref()).map(|(at, _)| *at);
    let is_crashed = |from: usize| {
        let dropped = link.dropped.unwrap_or(usize::MAX);
        account.crashes().into_iter().any(|it| it > from && it < dropped)
    };
    if let Some((left, ReasonCode::Success)) = link.left {
        // It was heard before anything else had ended the connection.
        return came_next.is_none_or(|it| it > left) && !is_crashed(left) && link.dropped.is_some();
    }
    let stopped = account.stops().into_iter().find(|it| *it > answered && *it < ends);
    if let Some(stopped) = stopped {
        return came_next.is_none_or(|it| it > stopped)
            && link.told.is_some_and(|(_, code)| code == ReasonCode::ServerShuttingDown);
    }
    // The client has come back in time.
    let back = later.first().and_then(|it| match (it.answer, &it.coming) {
        (Some((at, Ok(true))), Some((_, coming))) if !coming.clean => Some(at),
        _ => None,
    });
    !will.delay.is_zero() && back.is_some_and(|it| account.at(it) < account.at(ends) + will.delay)
}

fn must(account: &Account<'_>, link: &Connection, will: &WillOf, later: &[&Connection]) -> bool {
    let (Some(ends), Some(coming)) = (link.ends(), &link.coming) else { return false };
    let is_quiet = link.left.is_some() || link.told.is_some() || !link.is_served();
    let stopped = account.stops().into_iter().any(|it| link.dropped.is_none_or(|end| it < end));
    if is_quiet || stopped {
        return false;
    }
    if will.delay.is_zero() || coming.1.expiry == 0 {
        return true;
    }
    // With a delay: the client stays away for longer than that, and no crash has it begin anew.
    let Some(over) = link.dropped else { return false };
    let due = account.at(over) + will.delay + SLACK;
    let comes = later.iter().filter_map(|it| it.coming.as_ref()).map(|(at, _)| *at).next();
    let is_away = comes.is_none_or(|it| account.at(it) > due);
    let is_crashed = account.crashes().into_iter().any(|it| it > ends && account.at(it) < due);
    is_away && !is_crashed && account.crashes().iter().all(|it| *it < ends || *it > over)
}
