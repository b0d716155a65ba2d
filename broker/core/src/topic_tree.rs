//! The topic tree: which values are due a message on a topic.
//!
//! A trie over topic levels. Nodes stand in one vector and all edges in one hash table, so that a
//! node costs no map of its own and a literal level is one probe. Where a single filter leads on, all
//! the levels that are left of it stand in one node: with many filters, memory is far away.

mod edges;
mod entries;

use std::hash::Hash;

use compact_str::CompactString;
use hookmq_codec::{TopicName, levels_match};
use smallvec::SmallVec;

use self::edges::Edges;
use self::entries::Entries;

/// Values under topic filters, each filter holding at most one value for a key.
#[derive(Debug)]
pub struct TopicTree<K, V> {
    nodes: Vec<Node<K, V>>,
    /// Vacant places in `nodes`.
    free: Vec<u32>,
    /// Literal children.
    edges: Edges,
    length: usize,
}

/// With a value of 16 bytes it takes 64, as much as a processor fetches at once.
#[derive(Debug)]
struct Node<K, V> {
    /// The level that leads here. Behind it, in a node without children, what else its filter has.
    levels: CompactString,
    parent: u32,
    /// The child that begins with `+`, 0 where there is none: the root is nobody's child.
    single: u32,
    /// The `#` child, likewise.
    multi: u32,
    literal_children: u32,
    entries: Entries<K, V>,
}

const ROOT: u32 = 0;

impl<K: Eq + Hash + Copy, V> Default for TopicTree<K, V> {
    fn default() -> Self {
        Self { nodes: vec![Node::new("", ROOT)], free: vec![], edges: Edges::default(), length: 0 }
    }
}

impl<K: Eq + Hash + Copy, V> TopicTree<K, V> {
    /// Entries in the tree.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts `value` under a bare `filter`; gives back what stood there for `key`.
    pub fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let at = self.node_for(filter);
        let old = self.nodes[at as usize].entries.insert(key, value);
        self.length += usize::from(old.is_none());
        old
    }

    /// Takes out what stands under a bare `filter` for `key`.
    pub fn remove(&mut self, filter: &str, key: K) -> Option<V> {
        let at = self.find(filter)?;
        let old = self.nodes[at as usize].entries.remove(key)?;
        self.length -= 1;
        self.prune(at);
        Some(old)
    }

    /// Calls `visit` for each entry whose filter matches `topic`; a key may come up several times.
    pub fn for_each_match<'t>(&'t self, topic: TopicName<'_>, mut visit: impl FnMut(K, &'t V)) {
        let reserved = topic.is_reserved();
        // Nodes, and the topic's levels below them.
        let mut open: SmallVec<[(u32, Option<&str>); 16]> = SmallVec::new();
        open.push((ROOT, Some(topic.as_str())));
        while let Some((at, rest)) = open.pop() {
            let node = &self.nodes[at as usize];
            let wildcards = !(reserved && at == ROOT);
            if node.multi != ROOT && wildcards {
                self.nodes[node.multi as usize].entries.for_each(&mut visit);
            }
            let Some(rest) = rest else {
                node.entries.for_each(&mut visit);
                continue;
            };
            let (level, rest) = split_level(rest);
            let single = Some(node.single).filter(|&single| single != ROOT && wildcards);
            let literal = (node.literal_children > 0).then(|| self.literal_child(at, level));
            for (child, level) in [(single, "+"), (literal.flatten(), level)] {
                let Some(at) = child else { continue };
                let child = &self.nodes[at as usize];
                match child.behind(level) {
                    None => open.push((at, rest)),
                    Some(filter) if levels_match(filter, rest) => {
                        child.entries.for_each(&mut visit)
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Where the entries of a filter stand.
    fn find(&self, filter: &str) -> Option<u32> {
        let mut at = ROOT;
        let mut left = Some(filter);
        while let Some(rest) = left {
            let (level, rest) = split_level(rest);
            at = self.child(at, level)?;
            if let Some(behind) = self.nodes[at as usize].behind(level) {
                return (rest == Some(behind)).then_some(at);
            }
            left = rest;
        }
        Some(at)
    }

    /// As [`TopicTree::find`], making what is missing.
    fn node_for(&mut self, filter: &str) -> u32 {
        let mut at = ROOT;
        let mut left = Some(filter);
        while let Some(levels) = left {
            let (level, rest) = split_level(levels);
            let Some(child) = self.child(at, level) else { return self.add_child(at, levels) };
            at = child;
            if let Some(behind) = self.nodes[at as usize].behind(level) {
                if rest == Some(behind) {
                    return at;
                }
                self.split(at);
            }
            left = rest;
        }
        at
    }

    fn child(&self, at: u32, level: &str) -> Option<u32> {
        let node = &self.nodes[at as usize];
        match level {
            "+" => Some(node.single).filter(|&child| child != ROOT),
            "#" => Some(node.multi).filter(|&child| child != ROOT),
            _ => self.literal_child(at, level),
        }
    }

    fn literal_child(&self, at: u32, level: &str) -> Option<u32> {
        self.edges.find(self.edges.hash(at, level), |child| {
            let node = &self.nodes[child as usize];
            node.parent == at && node.begins_with(level)
        })
    }

    fn add_child(&mut self, parent: u32, levels: &str) -> u32 {
        let node = Node::new(levels, parent);
        let child = match self.free.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("limits keep nodes far below 2^32")
            }
        };
        match split_level(levels).0 {
            "+" => self.nodes[parent as usize].single = child,
            "#" => self.nodes[parent as usize].multi = child,
            level => {
                self.nodes[parent as usize].literal_children += 1;
                self.edges.insert(self.edges.hash(parent, level), child);
            }
        }
        child
    }

    /// Leaves its first level to a node, and gives what is behind and the entries to a child.
    fn split(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        let entries = std::mem::replace(&mut node.entries, Entries::None);
        let levels = std::mem::take(&mut node.levels);
        let (level, behind) = split_level(&levels);
        node.levels = CompactString::new(level);
        let child = self.add_child(at, behind.expect("only nodes of several levels are split"));
        self.nodes[child as usize].entries = entries;
    }

    /// Frees `at` and its ancestors as far as nothing is left in them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes[at as usize].is_vacant() {
            let node = std::mem::replace(&mut self.nodes[at as usize], Node::new("", ROOT));
            let parent = &mut self.nodes[node.parent as usize];
            match split_level(&node.levels).0 {
                "+" => parent.single = ROOT,
                "#" => parent.multi = ROOT,
                level => {
                    parent.literal_children -= 1;
                    self.edges.remove(self.edges.hash(node.parent, level), at);
                }
            }
            self.free.push(at);
            at = node.parent;
        }
    }
}

impl<K: Eq + Hash + Copy, V> Node<K, V> {
    fn new(levels: &str, parent: u32) -> Self {
        Self {
            levels: CompactString::new(levels),
            parent,
            single: ROOT,
            multi: ROOT,
            literal_children: 0,
            entries: Entries::None,
        }
    }

    /// Whether `level` leads here.
    #[inline]
    fn begins_with(&self, level: &str) -> bool {
        let rest = self.levels.as_bytes().strip_prefix(level.as_bytes());
        matches!(rest, Some([] | [b'/', ..]))
    }

    /// What its filter has behind `level`, which leads here.
    #[inline]
    fn behind(&self, level: &str) -> Option<&str> {
        self.levels.get(level.len() + 1..)
    }

    fn is_vacant(&self) -> bool {
        self.entries.is_empty()
            && self.single == ROOT
            && self.multi == ROOT
            && self.literal_children == 0
    }
}

/// The first level, and those behind it.
#[inline]
fn split_level(levels: &str) -> (&str, Option<&str>) {
    match levels.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (levels, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hookmq_codec::filter_matches;
    use proptest::prelude::*;

    use super::*;

    fn matches(tree: &TopicTree<u32, ()>, topic: &str) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        tree.for_each_match(TopicName::new(topic).unwrap(), |key, ()| assert!(found.insert(key)));
        found
    }

    #[test]
    fn a_filter_holds_one_value_for_a_key() {
        let mut tree = TopicTree::default();
        assert_eq!(tree.insert("a/+", 1, "old"), None);
        assert_eq!(tree.insert("a/+", 1, "new"), Some("old"));
        assert_eq!(tree.len(), 1);
        assert_eq!(tree.remove("a/+", 2), None);
        assert_eq!(tree.remove("a/+", 1), Some("new"));
        assert!(tree.is_empty());
    }

    #[test]
    fn what_is_removed_leaves_no_node_behind() {
        let mut tree = TopicTree::default();
        for round in 0..3 {
            for key in 0..100 {
                tree.insert(&format!("a/{key}/+/b/#"), key, ());
                tree.insert("popular/#", key, ());
            }
            assert_eq!(matches(&tree, "popular/x").len(), 100, "round {round}");
            for key in 0..100 {
                tree.remove(&format!("a/{key}/+/b/#"), key);
                tree.remove("popular/#", key);
            }
            assert!(tree.is_empty());
            assert_eq!(tree.nodes.len() - tree.free.len(), 1, "only the root is left");
            assert!(tree.edges.is_empty());
        }
    }

    #[test]
    fn a_filter_that_parts_from_another_takes_no_more_nodes_than_it_needs() {
        let mut tree = TopicTree::default();
        tree.insert("a/b/c/d", 1, ());
        assert_eq!(tree.nodes.len(), 2, "the root, and all levels in one");
        tree.insert("a/b/c/+", 2, ());
        assert_eq!(tree.nodes.len(), 6);
        tree.insert("a/b", 3, ());
        assert_eq!(tree.nodes.len(), 6);
        assert_eq!(matches(&tree, "a/b/c/d"), BTreeSet::from([1, 2]));
        assert_eq!(matches(&tree, "a/b"), BTreeSet::from([3]));
    }

    #[test]
    fn a_node_with_one_entry_of_a_subscription_is_a_cache_line() {
        // As large as what the broker keeps of a subscription, with as many values left over.
        type Value = (Box<()>, u32, [bool; 3]);
        assert_eq!(size_of::<Value>(), 16);
        assert_eq!(size_of::<Node<u64, Value>>(), 64);
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "$x", "+"])
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 1..5), any::<bool>()).prop_map(|(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_the_matcher(
            filters in prop::collection::vec(filter(), 0..30),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$x"]), 1..5),
        ) {
            let topic = topic.join("/");
            let filters: Vec<_> = filters.into_iter().filter(|filter| !filter.is_empty()).collect();
            prop_assume!(!topic.is_empty());
            let mut tree = TopicTree::default();
            let mut expected = BTreeSet::new();
            for (key, filter) in (0u32..).zip(&filters) {
                tree.insert(filter, key, ());
                if filter_matches(filter, TopicName::new(&topic).unwrap()) {
                    expected.insert(key);
                }
            }
            for index in removed.iter().filter(|_| !filters.is_empty()) {
                let place = index.index(filters.len());
                tree.remove(&filters[place], place as u32);
                expected.remove(&(place as u32));
            }
            prop_assert_eq!(matches(&tree, &topic), expected);
        }
    }
}
