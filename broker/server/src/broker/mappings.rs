//! Certificate mappings that change while their clients are connected.

use std::sync::Arc;

use hookmq_access::Directory;

use super::Broker;

/// Has the connections of clients judge them again of whom the mappings make something else now, which
/// ends them, for as long as the task lives.
pub async fn run(broker: Arc<Broker>, directory: Directory) {
    let mut mappings = directory.watch_mappings();
    // The directory, which has the sender, is held here.
    while mappings.changed().await.is_ok() {
        mappings.borrow_and_update();
        for tenant in broker.tenants() {
            tenant.judge_where(|client| directory.mapped_otherwise(client).is_some());
        }
    }
}
