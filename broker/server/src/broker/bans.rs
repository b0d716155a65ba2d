//! Bans in force: for those who come, and for those who are connected.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hookmq_access::{Ban, Bans, Directory, DirectoryError};
use hookmq_hooks::Client;

use super::Broker;

impl Broker {
    /// The ban of an address whose client nobody knows yet. Where the bans have not been read there is
    /// none here: the client is looked at again when it is known.
    pub fn ban_of_address(&self, address: IpAddr) -> Option<Ban> {
        self.directory.as_ref()?.bans()?.of_address(address, SystemTime::now()).cloned()
    }

    /// The ban of a client that the connect steps have let in.
    ///
    /// # Errors
    /// Where the database is away and the bans have never been read.
    pub async fn ban_of_newcomer(&self, client: &Client) -> Result<Option<Ban>, DirectoryError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        Ok(find(&*directory.known_bans().await?, client))
    }

    /// The ban of a client that is connected.
    pub fn ban_of(&self, client: &Client) -> Option<Ban> {
        find(&*self.directory.as_ref()?.bans()?, client)
    }
}

fn find(bans: &Bans, client: &Client) -> Option<Ban> {
    bans.of_client(client, SystemTime::now()).cloned()
}

/// Has the connections of clients that are banned judge them again, which ends them, for as long as the
/// task lives.
pub async fn run(broker: Arc<Broker>, directory: Directory) {
    let mut bans = directory.watch_bans();
    // The directory, which has the sender, is held here.
    while bans.changed().await.is_ok() {
        let Some(bans) = bans.borrow_and_update().clone() else { continue };
        let now = SystemTime::now();
        for tenant in broker.tenants() {
            tenant.judge_where(|client| bans.of_client(client, now).is_some());
        }
    }
}
