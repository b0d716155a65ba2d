//! Retained messages: the last one of each topic, found by filter.

use std::collections::BTreeMap;

use hookmq_codec::TopicName;

use crate::Message;

/// The retained messages of one tenant, bounded in number and bytes.
#[derive(Debug)]
pub struct RetainedMessages {
    root: Node,
    limits: RetainedLimits,
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
pub struct RetainedLimits {
    pub messages: usize,
    pub bytes: usize,
}

/// The store has no room for one more message; what it holds is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the retained messages' limit is reached")]
pub struct RetainedFull;

#[derive(Debug, Default)]
struct Node {
    message: Option<Message>,
    children: BTreeMap<Box<str>, Node>,
}

impl RetainedMessages {
    pub fn new(limits: RetainedLimits) -> Self {
        Self { root: Node::default(), limits, messages: 0, bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.messages
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bounds what comes from now on; what is there stays.
    pub fn set_limits(&mut self, limits: RetainedLimits) {
        self.limits = limits;
    }

    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Puts `message` in the place of the one on its topic; an empty payload only removes
    /// `[MQTT-3.3.1-6]`.
    pub fn retain(&mut self, message: &Message) -> Result<(), RetainedFull> {
        if message.payload().is_empty() {
            self.remove(message.topic());
            return Ok(());
        }
        let old = self.find(message.topic());
        let messages = self.messages + usize::from(old.is_none());
        let bytes = self.bytes - old.map_or(0, Message::size) + message.size();
        if messages > self.limits.messages || bytes > self.limits.bytes {
            return Err(RetainedFull);
        }
        let mut node = &mut self.root;
        for level in message.topic().levels() {
            // Looked up twice for a new level only: `entry` would copy the level every time.
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            node = node.children.get_mut(level).expect("it was put there above");
        }
        node.message = Some(message.clone());
        (self.messages, self.bytes) = (messages, bytes);
        Ok(())
    }

    /// Takes all messages out.
    pub fn take_all(&mut self) -> Vec<Message> {
        let mut found = Vec::new();
        let mut open = vec![std::mem::take(&mut self.root)];
        while let Some(Node { message, children }) = open.pop() {
            found.extend(message);
            open.extend(children.into_values());
        }
        (self.messages, self.bytes) = (0, 0);
        found
    }

    /// Takes the message on `topic` out.
    pub fn remove(&mut self, topic: TopicName<'_>) -> Option<Message> {
        let mut levels: Vec<&str> = topic.levels().collect();
        levels.reverse();
        let removed = self.root.remove(&mut levels)?;
        self.messages -= 1;
        self.bytes -= removed.size();
        Some(removed)
    }

    /// The messages whose topics match a bare `filter`, in no particular order.
    pub fn matching(&self, filter: &str) -> Vec<Message> {
        let mut found = Vec::new();
        let mut open = vec![(&self.root, Some(filter))];
        while let Some((node, rest)) = open.pop() {
            let Some(rest) = rest else {
                found.extend(node.message.clone());
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            // A wildcard in the first level leaves topics that begin with $ alone [MQTT-4.7.2-1].
            let first = std::ptr::eq(node, &self.root);
            let visible = |name: &str| !(first && name.starts_with('$'));
            match level {
                "#" => {
                    found.extend(node.message.clone());
                    let children = node.children.iter().filter(|(name, _)| visible(name));
                    open.extend(children.map(|(_, child)| (child, Some("#"))));
                }
                "+" => {
                    let children = node.children.iter().filter(|(name, _)| visible(name));
                    open.extend(children.map(|(_, child)| (child, rest)));
                }
                _ => open.extend(node.children.get(level).map(|child| (child, rest))),
            }
        }
        found
    }

    fn find(&self, topic: TopicName<'_>) -> Option<&Message> {
        let mut node = &self.root;
        for level in topic.levels() {
            node = node.children.get(level)?;
        }
        node.message.as_ref()
    }
}

impl Node {
    /// Removes along `levels`, the first one last, and drops the nodes that are left empty.
    /// As deep as a topic has levels, which the broker bounds before it retains.
    fn remove(&mut self, levels: &mut Vec<&str>) -> Option<Message> {
        let Some(level) = levels.pop() else {
            return self.message.take();
        };
        let child = self.children.get_mut(level)?;
        let removed = child.remove(levels);
        if child.message.is_none() && child.children.is_empty() {
            self.children.remove(level);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use hookmq_codec::Qos;

    use super::*;
    use crate::NewMessage;

    fn message(topic: &str, payload: &[u8]) -> Message {
        Message::new(NewMessage {
            topic: TopicName::new(topic).unwrap(),
            forwarded_properties: &[],
            payload,
            qos: Qos::AtMostOnce,
            retain: true,
            expires_at: None,
            publisher: 0,
        })
    }

    fn store() -> RetainedMessages {
        RetainedMessages::new(RetainedLimits { messages: 5, bytes: 10_000 })
    }

    fn topics(store: &RetainedMessages, filter: &str) -> Vec<String> {
        let mut found: Vec<_> =
            store.matching(filter).iter().map(|message| message.topic().to_string()).collect();
        found.sort();
        found
    }

    #[test]
    fn filters_find_what_the_matcher_would() {
        let mut store = store();
        for topic in ["a", "a/b", "a/b/c", "/a", "$SYS/a"] {
            store.retain(&message(topic, b"x")).unwrap();
        }
        for filter in ["#", "+", "a/#", "a/+", "+/+", "+/a", "$SYS/#", "$SYS/+", "a/b/c", "x"] {
            let name = |topic: &&&str| {
                hookmq_codec::filter_matches(filter, TopicName::new(topic).unwrap())
            };
            let mut expected: Vec<_> =
                ["a", "a/b", "a/b/c", "/a", "$SYS/a"].iter().filter(name).collect();
            expected.sort();
            assert_eq!(
                topics(&store, filter),
                expected.iter().map(|t| t.to_string()).collect::<Vec<_>>(),
                "{filter}"
            );
        }
    }

    #[test]
    fn an_empty_payload_removes_and_leaves_nothing_behind() {
        let mut store = store();
        store.retain(&message("a/b/c", b"x")).unwrap();
        store.retain(&message("a/b/c", b"")).unwrap();
        assert!(store.is_empty());
        assert!(store.root.children.is_empty());
        assert_eq!(store.bytes, 0);
    }

    #[test]
    fn all_messages_are_taken_out_whatever_their_topics() {
        let mut store = store();
        for topic in ["a", "a/b/c", "$x/y", "/"] {
            store.retain(&message(topic, b"x")).unwrap();
        }
        assert_eq!(store.take_all().len(), 4);
        assert_eq!((store.len(), store.bytes()), (0, 0));
        assert!(store.root.children.is_empty());
    }

    #[test]
    fn the_limit_refuses_a_new_topic_but_not_a_new_value() {
        let mut store = store();
        for topic in ["1", "2", "3", "4", "5"] {
            store.retain(&message(topic, b"x")).unwrap();
        }
        assert_eq!(store.retain(&message("6", b"x")), Err(RetainedFull));
        store.retain(&message("5", b"y")).unwrap();
        assert_eq!(store.retain(&message("5", &[0; 10_000])), Err(RetainedFull));
        assert_eq!(store.matching("5")[0].payload(), b"y");
    }
}
