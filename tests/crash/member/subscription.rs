//! A subscription that a client wants, or does not want any more.

use hookmq_codec::TopicName;
use hookmq_codec::{
    Packet, PacketId, Qos, Subscribe, SubscribeProperties, TopicFilter, Unsubscribe,
    UserProperties, filter_matches,
};
use hookmq_tests::client::at;

use crate::record::{RecipientId, Record};

#[derive(Debug)]
pub struct Subscription {
    filter: String,
    qos: Qos,
    /// Who is due what matches: the session, or its shared subscription.
    pub recipient: RecipientId,
    wish: Wish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// SUBSCRIBE is to be sent, or under way.
    Subscribe(Option<PacketId>),
    Subscribed,
    Unsubscribe(Option<PacketId>),
    Unsubscribed,
}

impl Subscription {
    pub fn new(filter: impl Into<String>, qos: Qos, recipient: RecipientId) -> Self {
        Self { filter: filter.into(), qos, recipient, wish: Wish::Subscribe(None) }
    }

    pub fn matches(&self, topic: TopicName<'_>) -> bool {
        filter_matches(self.bare(), topic)
    }

    /// Whether the broker has confirmed what is wanted.
    pub fn is_settled(&self) -> bool {
        matches!(self.wish, Wish::Subscribed | Wish::Unsubscribed)
    }

    /// The opposite is wanted, if what is wanted now was confirmed.
    pub fn change(&mut self) {
        self.wish = match self.wish {
            Wish::Subscribed => Wish::Unsubscribe(None),
            Wish::Unsubscribed => Wish::Subscribe(None),
            waiting => waiting,
        };
    }

    /// The connection is over: what was not answered is to be asked again.
    pub fn lose_connection(&mut self) {
        self.wish = match self.wish {
            Wish::Subscribe(_) => Wish::Subscribe(None),
            Wish::Unsubscribe(_) => Wish::Unsubscribe(None),
            known => known,
        };
    }

    /// The broker has nothing of the session.
    pub fn begin_anew(&mut self) {
        self.wish = match self.wish {
            Wish::Subscribed => Wish::Subscribe(None),
            Wish::Unsubscribe(_) => Wish::Unsubscribed,
            wish => wish,
        };
    }

    /// The packet that is to be sent, if one is, under an id of `next_id`.
    pub fn ask(
        &mut self,
        next_id: impl FnOnce() -> PacketId,
        record: &mut Record,
    ) -> Option<Packet<'static>> {
        let filter = TopicFilter::new(&*self.filter).expect("a topic filter");
        match self.wish {
            Wish::Subscribe(None) => {
                let packet_id = next_id();
                self.wish = Wish::Subscribe(Some(packet_id));
                record.subscribing(self.recipient, self.bare(), self.qos);
                let filters = vec![(filter, at(self.qos))];
                let properties = SubscribeProperties::default();
                Some(Packet::Subscribe(Subscribe { packet_id, filters, properties }))
            }
            Wish::Unsubscribe(None) => {
                let packet_id = next_id();
                self.wish = Wish::Unsubscribe(Some(packet_id));
                record.unsubscribing(self.recipient, self.bare());
                let (filters, user_properties) = (vec![filter], UserProperties::default());
                Some(Packet::Unsubscribe(Unsubscribe { packet_id, filters, user_properties }))
            }
            _ => None,
        }
    }

    /// SUBACK or UNSUBACK was read.
    pub fn answered(&mut self, id: PacketId, record: &mut Record) {
        match self.wish {
            Wish::Subscribe(Some(it)) if it == id => {
                record.subscribed(self.recipient, self.bare());
                self.wish = Wish::Subscribed;
            }
            Wish::Unsubscribe(Some(it)) if it == id => {
                record.unsubscribed(self.recipient, self.bare());
                self.wish = Wish::Unsubscribed;
            }
            _ => {}
        }
    }

    /// Without `$share/` and the name of the group.
    fn bare(&self) -> &str {
        match self.filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or(shared, |(_, filter)| filter),
            None => &self.filter,
        }
    }
}
