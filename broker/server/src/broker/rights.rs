//! Rights that change while clients are connected: who is judged again, and what follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_access::{Concerned, Directory};
use hookmq_hooks::Client;
use serde::Deserialize;

use super::Broker;
use super::tenant::Tenant;

/// For so many times as long as it takes to look for the clients that are concerned, others are gathered.
const GATHERING: u32 = 10;
const LONGEST_GATHERING: Duration = Duration::from_millis(100);

/// What becomes of rights that are lost, and how far those to receive are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RightsOptions {
    pub on_revocation: OnRevocation,
    pub receive: ReceiveDemand,
}

/// What a client notices that has lost the right to a subscription, which is over in either case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRevocation {
    /// It is disconnected with "not authorized".
    #[default]
    Disconnect,
    /// It is sent a message on [`REVOKED`].
    Unsubscribe,
}

/// Whose deliveries are authorized one by one, whether or not a step asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiveDemand {
    pub always: bool,
    pub listeners: Vec<Arc<str>>,
    pub tenants: Vec<Arc<str>>,
}

/// Where a client hears that it has lost a subscription. It need not, and cannot, subscribe to it.
pub const REVOKED: &str = "$SYS/session/revoked";

impl ReceiveDemand {
    pub fn includes(&self, client: &Client) -> bool {
        self.always
            || self.listeners.contains(&client.connection.listener)
            || self.tenants.contains(&client.tenant)
    }
}

/// Has the connections of clients judge them again whose rights may have changed, for as long as the
/// task lives.
pub async fn run(broker: Arc<Broker>, directory: Directory) {
    loop {
        let concerned = directory.concerned().await;
        let began = Instant::now();
        for tenant in broker.tenants() {
            match &concerned {
                Concerned::Everybody => tenant.judge_again(|_| true),
                Concerned::Principals(of) => {
                    if let Some(names) = of.get(&tenant.name) {
                        tenant.judge_again(|username| names.contains(username));
                    }
                }
            }
        }
        // A change may concern all clients, who are looked up some hundreds at a time: each look at all
        // sessions is to find many of them.
        tokio::time::sleep((began.elapsed() * GATHERING).min(LONGEST_GATHERING)).await;
    }
}

impl Tenant {
    /// Has the connections of clients judge them again for whom `concerned` says so.
    pub(super) fn judge_where(&self, concerned: impl Fn(&Client) -> bool) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions {
            if session.client().is_some_and(|client| concerned(&client)) {
                session.judge_again();
            }
        }
    }

    fn judge_again(&self, concerned: impl Fn(&Arc<str>) -> bool) {
        let sessions = self.sessions.lock();
        let those: Vec<_> =
            sessions.values().filter(|it| concerned(&it.username)).cloned().collect();
        drop(sessions);
        for session in those {
            session.judge_again();
        }
    }
}
