//! Connections whose clients have a newer one.

use std::collections::HashMap;

use hookmq_codec::{Packet, ProtocolVersion, ReasonCode, decode, frame};

use crate::link::{Event, Link};
use crate::member::Role;

/// By their numbers. The broker closes them, and tells clients of 5.0 why; what else comes on them is lost.
#[derive(Debug, Default)]
pub struct Former(HashMap<u64, Abandoned>);

#[derive(Debug)]
struct Abandoned {
    name: String,
    version: ProtocolVersion,
    is_told: bool,
    /// Open as long as this is there.
    _link: Link,
}

impl Former {
    pub fn add(&mut self, link: Option<Link>, role: &Role) {
        if let Some(link) = link {
            let (name, version) = (role.name.clone(), role.version);
            self.0.insert(link.number, Abandoned { name, version, is_told: false, _link: link });
        }
    }

    pub fn are_closed(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with what has come on one of them.
    pub fn handle(&mut self, event: &Event) -> Option<String> {
        let former = self.0.get_mut(&event.connection)?;
        let Some(bytes) = &event.packet else {
            let Abandoned { name, version, is_told, .. } = self.0.remove(&event.connection)?;
            let wrong = version.is_v5() && !is_told;
            return wrong
                .then(|| format!("{name} was closed, and not told that it was taken over"));
        };
        let whole = frame(bytes, u32::MAX).expect("it was framed before").expect("it is whole");
        let Packet::Disconnect(disconnect) =
            decode(whole, former.version).expect("the broker sends packets")
        else {
            return None;
        };
        former.is_told = true;
        let code = disconnect.reason_code;
        let wrong = code != ReasonCode::SessionTakenOver || !former.version.is_v5();
        wrong.then(|| format!("{} was taken over, and told {code:?}", former.name))
    }
}
