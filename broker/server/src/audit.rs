//! The audit record: one bounded line for each client, and each wish of a client, that is refused, and for
//! each act of an administrator.
//!
//! Every record is of a kind. A kind has a number of lines per second; what goes beyond is counted, and
//! the next line of the kind says how many were left out.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hookmq_access::TenantGrant;
use hookmq_codec::ReasonCode;
use hookmq_hooks::{Access, Client, Denial};
use parking_lot::Mutex;
use tracing::info;

use crate::broker::metrics::Counter;
use crate::connection::Refusal;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connect step does not want the client.
    Step,
    /// The protocol or the configuration does not allow what CONNECT asks for.
    Connect,
    Banned,
    /// Has failed, or connected, too often.
    HeldBack,
    /// TLS did not come about, or the client's certificate does not count.
    Tls,
    /// The client may not publish, subscribe or receive this.
    Access,
    /// Its tenant uses all that it may.
    Quota,
    /// A grant that reaches into another tenant is given, used, or over.
    Grant,
    /// A request to the admin API that changes something, or asks steps.
    Admin,
    /// A request to the admin API without its token.
    AdminRefused,
}

/// What is told of each kind, and what is left out.
#[derive(Default)]
pub struct Audit {
    kinds: [Pace; Kind::COUNT],
    /// Of all kinds, since the start.
    pub left_out: Counter,
}

/// How fast lines of one kind are written.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When the present second began.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// Lines of one kind in a second.
const LINES: u32 = 50;

const SECOND: Duration = Duration::from_secs(1);

/// Bytes of a text of somebody else's in a line, after escaping. With all of them, a line of JSON has no
/// more than 1 KiB.
const LONGEST: usize = 80;

/// As [`LONGEST`], of why somebody was refused, which is mostly the broker's own words.
const LONGEST_REASON: usize = 144;

/// A text that somebody else has chosen: in quotes, escaped, and cut, with `…`, so that it neither begins
/// a line nor fills one.
#[derive(Clone, Copy)]
pub struct Foreign<'a>(pub &'a str);

/// As [`Foreign`], cut after this number of bytes.
struct Cut<'a>(&'a str, usize);

/// A request to the admin API.
#[derive(Debug)]
pub struct Act<'a> {
    /// In the words of whoever asks.
    pub actor: &'a str,
    pub method: &'a str,
    /// Without its query.
    pub path: &'a str,
    pub status: u16,
}

/// What has become of a grant that reaches into another tenant.
#[derive(Debug)]
pub enum GrantEvent<'a> {
    /// From now on it counts, as it is.
    Given(&'a TenantGrant),
    /// Its row is gone, or another one now, or one of its tenants is.
    Withdrawn(&'a TenantGrant),
    Expired(&'a TenantGrant),
    /// For the first time on a connection.
    Used {
        grant: &'a TenantGrant,
        by: &'a Client,
    },
}

impl Kind {
    const COUNT: usize = 10;

    pub fn of(refusal: &Refusal) -> Self {
        match (&refusal.step, refusal.reason_code) {
            (Some(_), _) => Self::Step,
            (None, ReasonCode::Banned) => Self::Banned,
            (None, ReasonCode::ConnectionRateExceeded) => Self::HeldBack,
            (None, ReasonCode::QuotaExceeded) => Self::Quota,
            _ => Self::Connect,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Connect => "connect",
            Self::Banned => "banned",
            Self::HeldBack => "held_back",
            Self::Tls => "tls",
            Self::Access => "access",
            Self::Quota => "quota",
            Self::Grant => "grant",
            Self::Admin => "admin",
            Self::AdminRefused => "admin_refused",
        }
    }
}

impl Audit {
    pub fn refused(&self, kind: Kind, listener: &str, peer: Option<SocketAddr>, refusal: &Refusal) {
        let Some(left_out) = self.may_tell(kind, Instant::now()) else { return };
        info!(
            target: "audit",
            kind = kind.name(),
            listener,
            ?peer,
            client_id = ?Foreign(&refusal.client_id),
            username = ?refusal.username.as_deref().map(Foreign),
            reason_code = %refusal.reason_code,
            step = refusal.step.as_deref(),
            reason = ?Cut(refusal.note.as_deref().unwrap_or(&refusal.reason), LONGEST_REASON),
            left_out,
            "client refused"
        );
    }

    /// No TLS, and so no CONNECT, on this connection.
    pub fn turned_away(&self, listener: &str, peer: Option<SocketAddr>, why: &impl fmt::Display) {
        let Some(left_out) = self.may_tell(Kind::Tls, Instant::now()) else { return };
        let (kind, reason) = (Kind::Tls.name(), why.to_string());
        let reason = Cut(&reason, LONGEST_REASON);
        info!(target: "audit", kind, listener, ?peer, ?reason, left_out, "client turned away");
    }

    pub fn denied(&self, client: &Client, access: &Access<'_>, denial: &Denial) {
        let Some(left_out) = self.may_tell(Kind::Access, Instant::now()) else { return };
        info!(
            target: "audit",
            kind = Kind::Access.name(),
            tenant = ?Foreign(&client.tenant),
            client_id = ?Foreign(&client.client_id),
            username = ?Foreign(&client.username),
            action = ?access.action,
            topic = ?Foreign(access.topic),
            share_name = access.share_name.map(|name| tracing::field::debug(Foreign(name))),
            reason = ?Cut(&denial.reason, LONGEST_REASON),
            left_out,
            "access denied"
        );
    }

    pub fn grant(&self, event: GrantEvent<'_>) {
        let Some(left_out) = self.may_tell(Kind::Grant, Instant::now()) else { return };
        let (what, grant, client) = match event {
            GrantEvent::Given(grant) => ("given", grant, None),
            GrantEvent::Withdrawn(grant) => ("withdrawn", grant, None),
            GrantEvent::Expired(grant) => ("expired", grant, None),
            GrantEvent::Used { grant, by } => ("used", grant, Some(by)),
        };
        info!(
            target: "audit",
            kind = Kind::Grant.name(),
            what,
            id = grant.id,
            tenant = ?Foreign(&grant.tenant),
            username = ?Foreign(&grant.username),
            target_tenant = ?Foreign(&grant.target),
            client_id = ?client.map(|it| Foreign(&it.client_id)),
            granted_by = ?Foreign(&grant.granted_by),
            left_out,
            "tenant grant"
        );
    }

    pub fn act(&self, kind: Kind, peer: Option<SocketAddr>, act: &Act<'_>) {
        let Some(left_out) = self.may_tell(kind, Instant::now()) else { return };
        info!(
            target: "audit",
            kind = kind.name(),
            ?peer,
            who = ?Foreign(act.actor),
            method = ?Foreign(act.method),
            path = ?Foreign(act.path),
            status = act.status,
            left_out,
            "admin request"
        );
    }

    fn may_tell(&self, kind: Kind, now: Instant) -> Option<u64> {
        let told = self.kinds[kind as usize].may_tell(now);
        if told.is_none() {
            self.left_out.add(1);
        }
        told
    }
}

impl Pace {
    /// Whether to write a line now, and how many were left out before it.
    pub fn may_tell(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock();
        if told.since.is_none_or(|since| now >= since + SECOND) {
            (told.since, told.lines) = (Some(now), 0);
        }
        if told.lines >= LINES {
            told.left_out += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.left_out))
    }
}

impl fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cut(self.0, LONGEST).fmt(f)
    }
}

impl fmt::Debug for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.1;
        f.write_char('"')?;
        for character in self.0.chars() {
            // Between double quotes a single one stands as it is.
            let escaped = character.escape_debug().skip(usize::from(character == '\''));
            let length: usize = escaped.clone().map(char::len_utf8).sum();
            if length > left {
                f.write_char('…')?;
                break;
            }
            left -= length;
            for character in escaped {
                f.write_char(character)?;
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_is_one_short_piece_of_a_line() {
        for plain in ["pump 7", "the pump's", "\"7\""] {
            assert_eq!(format!("{:?}", Foreign(plain)), format!("{plain:?}"));
        }
        let hostile = "\r\n{\"x\":1}\u{1b}[2J\u{2028}\u{202e}\0";
        let told = format!("{:?}", Foreign(hostile));
        assert!(!told.contains(|it: char| it.is_control() || "\u{2028}\u{202e}".contains(it)));
        for long in ["x".repeat(65_536), "\u{1b}".repeat(65_536), "é".repeat(30_000)] {
            let told = format!("{:?}", Foreign(&long));
            assert!(told.len() <= LONGEST + 5 && told.ends_with("…\""), "{told}");
        }
    }

    #[test]
    fn a_kind_that_says_too_much_is_counted_and_the_others_are_told() {
        let audit = Audit::default();
        let now = Instant::now();
        for _ in 0..LINES {
            assert_eq!(audit.may_tell(Kind::Step, now), Some(0));
        }
        assert!((0..7).all(|_| audit.may_tell(Kind::Step, now).is_none()));
        assert_eq!(audit.may_tell(Kind::Admin, now), Some(0));
        assert_eq!(audit.may_tell(Kind::Step, now + SECOND), Some(7));
        assert_eq!(audit.may_tell(Kind::Step, now + SECOND), Some(0));
        assert_eq!(audit.left_out.value(), 7);
    }
}
