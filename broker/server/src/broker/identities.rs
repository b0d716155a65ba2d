//! Who is connected, as whom, and subscribed to what: asked of the connections themselves.

use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{Qos, TopicFilter};
use hookmq_hooks::Client;
use tokio::sync::oneshot;

use super::tenant::Tenant;

/// A connection answers in its next turn. One that takes longer is told of without its subscriptions.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connected client.
pub struct Connected {
    pub client: Arc<Client>,
    /// None where its connection has not answered in time.
    pub subscriptions: Option<Vec<(TopicFilter, Qos)>>,
}

impl Tenant {
    /// The connected clients whose client ids come after `after`, in their order, `most` at the most.
    /// The flag says whether there may be more.
    pub async fn connected(&self, after: Option<&str>, most: usize) -> (Vec<Connected>, bool) {
        let mut sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        sessions.retain(|it| after.is_none_or(|after| *it.key.client_id > *after));
        sessions.sort_by(|one, other| one.key.client_id.cmp(&other.key.client_id));
        let mut online = sessions.into_iter().filter_map(|it| Some((it.client()?, it)));
        let asked: Vec<_> = online
            .by_ref()
            .take(most)
            .map(|(client, session)| {
                let (inquiry, answer) = oneshot::channel();
                session.inquire(inquiry);
                (client, answer)
            })
            .collect();
        let more = online.next().is_some();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut connected = Vec::with_capacity(asked.len());
        for (client, answer) in asked {
            let answer = tokio::time::timeout_at(deadline, answer).await;
            let subscriptions = answer.ok().and_then(Result::ok);
            connected.push(Connected { client, subscriptions });
        }
        (connected, more)
    }
}
