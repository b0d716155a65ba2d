//! Who is kept out: bans as they stand in the database, made ready to be asked at every CONNECT.

mod network;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::SystemTime;

use hookmq_hooks::Client;

use self::network::Networks;

/// Bans that count at a time, the newest of them. Further ones are left out, with a warning.
pub const MAX_BANS: usize = 100_000;

/// All bans of a moment.
#[derive(Debug, Default)]
pub struct Bans {
    everywhere: Scope,
    tenants: HashMap<Box<str>, Scope>,
}

/// Why somebody is kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Of the row.
    pub id: i64,
    /// The operator's words; clients are not told.
    pub reason: Box<str>,
    /// None: for good.
    pub expires_at: Option<SystemTime>,
}

/// What a ban names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    ClientId(Box<str>),
    Principal(Box<str>),
    Tenant,
    /// The first address of the network, and how many bits belong to it.
    Network(IpAddr, u8),
}

/// The bans of one tenant, or of all.
#[derive(Debug, Default)]
struct Scope {
    whole: Option<Ban>,
    client_ids: HashMap<Box<str>, Ban>,
    usernames: HashMap<Box<str>, Ban>,
    networks: Networks,
}

impl Bans {
    /// The ban of an address whatever its client's tenant, if there is one at `now`.
    pub fn of_address(&self, address: IpAddr, now: SystemTime) -> Option<&Ban> {
        self.everywhere.networks.find(address, |ban| ban.counts_at(now))
    }

    /// The ban of a client, by all that is known of it, if there is one at `now`.
    pub fn of_client(&self, client: &Client, now: SystemTime) -> Option<&Ban> {
        let of_tenant = self.tenants.get(&*client.tenant);
        of_tenant.into_iter().chain([&self.everywhere]).find_map(|scope| scope.find(client, now))
    }

    pub(crate) fn insert(&mut self, tenant: Option<&str>, subject: Subject, ban: Ban) {
        let scope = match tenant {
            None => &mut self.everywhere,
            Some(tenant) => self.tenants.entry(tenant.into()).or_default(),
        };
        let place = match subject {
            Subject::ClientId(client_id) => scope.client_ids.entry(client_id),
            Subject::Principal(username) => scope.usernames.entry(username),
            Subject::Network(first, bits) => return scope.networks.insert(first, bits, ban),
            Subject::Tenant => {
                scope.whole = Some(ban.or_longer(scope.whole.take()));
                return;
            }
        };
        place.and_modify(|it| *it = ban.clone().or_longer(Some(it.clone()))).or_insert(ban);
    }
}

impl Scope {
    fn find(&self, client: &Client, now: SystemTime) -> Option<&Ban> {
        let by_name = [
            self.whole.as_ref(),
            self.usernames.get(&*client.username),
            self.client_ids.get(&*client.client_id),
        ];
        let by_name = by_name.into_iter().flatten().find(|ban| ban.counts_at(now));
        let address = client.connection.peer.map(|peer| peer.ip());
        by_name.or_else(|| self.networks.find(address?, |ban| ban.counts_at(now)))
    }
}

impl Ban {
    fn counts_at(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    /// Of two bans of the same subject, the one that ends later.
    fn or_longer(self, other: Option<Self>) -> Self {
        match other {
            None => self,
            Some(other) => match (self.expires_at, other.expires_at) {
                (None, _) => self,
                (_, None) => other,
                (Some(one), Some(another)) if one >= another => self,
                _ => other,
            },
        }
    }
}

impl Subject {
    /// As the columns `kind` and `subject` put it. None where they say nothing that can be understood.
    pub(crate) fn read(kind: &str, subject: &str) -> Option<Self> {
        match (kind, subject) {
            ("tenant", _) => Some(Self::Tenant),
            (_, "") => None,
            ("client_id", client_id) => Some(Self::ClientId(client_id.into())),
            ("principal", username) => Some(Self::Principal(username.into())),
            ("address", text) => {
                let (first, bits) = network::read(text)?;
                Some(Self::Network(first, bits))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
