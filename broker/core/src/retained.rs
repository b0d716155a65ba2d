//! Retained messages: the last one of each topic, found by filter.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

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

    /// The messages whose topics match a bare `filter`, at most `most` from behind the topic `after` on:
    /// level by level, in the order of their bytes. Whoever asks for page after page gets each message
    /// once that is there all the time.
    pub fn page(&self, filter: &str, after: Option<&str>, most: usize) -> Vec<Message> {
        let mut page = Page { found: Vec::new(), most };
        let reached = after.map_or(Reached::Not, |after| Reached::Passed(Some(after)));
        page.collect(&self.root, Visible::NotReserved, Some(filter), reached);
        page.found
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

/// Messages on their way out.
struct Page {
    found: Vec<Message>,
    most: usize,
}

/// What wildcards match among the children of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visible {
    All,
    /// In the first level, topics that begin with $ are left alone `[MQTT-4.7.2-1]`.
    NotReserved,
}

/// How far the pages before have come.
#[derive(Debug, Clone, Copy)]
enum Reached<'a> {
    /// Not as far as this node.
    Not,
    /// To this node, and below it along these levels.
    Passed(Option<&'a str>),
}

impl Page {
    /// As deep as a topic has levels, which the broker bounds before it retains.
    fn collect(
        &mut self,
        node: &Node,
        visible: Visible,
        filter: Option<&str>,
        reached: Reached<'_>,
    ) {
        let Some(filter) = filter else { return self.take(node, reached) };
        let (level, rest) = split(filter);
        match level {
            "#" => {
                self.take(node, reached);
                self.descend(node, visible, Some(filter), reached);
            }
            "+" => self.descend(node, visible, rest, reached),
            _ => {
                if let Some(child) = node.children.get(level)
                    && let Some(reached) = reached.below(level)
                {
                    self.collect(child, Visible::All, rest, reached);
                }
            }
        }
    }

    fn take(&mut self, node: &Node, reached: Reached<'_>) {
        if let Reached::Not = reached
            && self.found.len() < self.most
        {
            self.found.extend(node.message.clone());
        }
    }

    fn descend(
        &mut self,
        node: &Node,
        visible: Visible,
        filter: Option<&str>,
        reached: Reached<'_>,
    ) {
        let from = match reached {
            Reached::Passed(Some(levels)) => Bound::Included(split(levels).0),
            Reached::Passed(None) | Reached::Not => Bound::Unbounded,
        };
        for (name, child) in node.children.range::<str, _>((from, Bound::Unbounded)) {
            if self.found.len() >= self.most {
                return;
            }
            if visible == Visible::NotReserved && name.starts_with('$') {
                continue;
            }
            if let Some(reached) = reached.below(name) {
                self.collect(child, Visible::All, filter, reached);
            }
        }
    }
}

impl<'a> Reached<'a> {
    /// The same for the child of this name; None where all of it is behind.
    fn below(self, name: &str) -> Option<Self> {
        let Self::Passed(Some(levels)) = self else { return Some(Self::Not) };
        let (level, rest) = split(levels);
        match name.cmp(level) {
            Ordering::Less => None,
            Ordering::Equal => Some(Self::Passed(rest)),
            Ordering::Greater => Some(Self::Not),
        }
    }
}

/// The first of some levels, and the others.
fn split(levels: &str) -> (&str, Option<&str>) {
    match levels.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (levels, None),
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
            store.page(filter, None, 10).iter().map(|it| it.topic().to_string()).collect();
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
    fn pages_of_any_size_give_each_message_once() {
        let limits = RetainedLimits { messages: 1000, bytes: 1_000_000 };
        let mut store = RetainedMessages::new(limits);
        let levels = ["a", "b", "", "ab", "$x"];
        for one in levels {
            store.retain(&message(&format!("t{one}"), b"x")).unwrap();
            for two in levels {
                store.retain(&message(&format!("{one}/{two}"), b"x")).unwrap();
                for three in levels {
                    store.retain(&message(&format!("{one}/{two}/{three}"), b"x")).unwrap();
                }
            }
        }
        for filter in ["#", "+/#", "+/+", "a/#", "+/b/#", "a/+/ab", "+/+/+", "a/b/ab", "ta", "$x/+"]
        {
            let all = store.page(filter, None, usize::MAX);
            assert!(!all.is_empty(), "{filter}");
            for most in 1..8 {
                let (mut found, mut after) = (Vec::new(), None::<String>);
                loop {
                    let page = store.page(filter, after.as_deref(), most);
                    assert!(page.len() <= most);
                    let Some(last) = page.last() else { break };
                    after = Some(last.topic().to_string());
                    found.extend(page);
                }
                let topics = |messages: &[Message]| -> Vec<_> {
                    messages.iter().map(|it| it.topic().to_string()).collect()
                };
                assert_eq!(topics(&found), topics(&all), "{filter}, {most} each");
            }
        }
    }

    #[test]
    fn a_page_begins_behind_a_topic_that_is_gone() {
        let mut store = store();
        for topic in ["a", "a/b", "b/a", "c"] {
            store.retain(&message(topic, b"x")).unwrap();
        }
        for (after, next) in [("a/a", "a/b"), ("a/b/c", "b/a"), ("b", "b/a"), ("bb", "c")] {
            assert_eq!(store.page("#", Some(after), 1)[0].topic().as_str(), next, "{after}");
        }
        assert!(store.page("#", Some("c/d"), 1).is_empty());
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
        assert_eq!(store.page("5", None, 1)[0].payload(), b"y");
    }
}
