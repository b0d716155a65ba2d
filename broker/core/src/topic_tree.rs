//! The topic tree: which values are due a message on a topic.
//!
//! A trie over topic levels. Nodes stand in one vector and all edges in one hash table, so that a
//! node costs no map of its own and a literal level is one probe.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{HashMap, HashTable};
use hookmq_codec::TopicName;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};

/// Values under topic filters, each filter holding at most one value for a key.
#[derive(Debug)]
pub struct TopicTree<K, V> {
    nodes: Vec<Node<K, V>>,
    /// Vacant places in `nodes`.
    free: Vec<u32>,
    /// Literal children, found by (parent, level).
    edges: HashTable<u32>,
    length: usize,
}

/// With a value of 16 bytes it takes 64, as much as a processor fetches at once.
#[derive(Debug)]
struct Node<K, V> {
    level: Level,
    parent: u32,
    /// The `+` child, 0 where there is none: the root is nobody's child.
    single: u32,
    /// The `#` child, likewise.
    multi: u32,
    literal_children: u32,
    entries: Entries<K, V>,
}

/// Bytes of a level. Most fit in here and cost no visit to another place.
type Level = SmallVec<[u8; 16]>;

const ROOT: u32 = 0;

impl<K: Eq + Hash + Copy, V> Default for TopicTree<K, V> {
    fn default() -> Self {
        Self { nodes: vec![Node::new("", ROOT)], free: vec![], edges: HashTable::new(), length: 0 }
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
        let mut at = ROOT;
        for level in filter.split('/') {
            at = match self.child(at, level) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        let old = self.nodes[at as usize].entries.insert(key, value);
        self.length += usize::from(old.is_none());
        old
    }

    /// Takes out what stands under a bare `filter` for `key`.
    pub fn remove(&mut self, filter: &str, key: K) -> Option<V> {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = self.child(at, level)?;
        }
        let old = self.nodes[at as usize].entries.remove(key)?;
        self.length -= 1;
        self.prune(at);
        Some(old)
    }

    /// Calls `visit` for each entry whose filter matches `topic`; a key may come up several times.
    pub fn for_each_match<'t>(&'t self, topic: TopicName<'_>, mut visit: impl FnMut(K, &'t V)) {
        let reserved = topic.is_reserved();
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
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            if node.single != ROOT && wildcards {
                open.push((node.single, rest));
            }
            if node.literal_children > 0
                && let Some(child) = self.literal_child(at, level)
            {
                open.push((child, rest));
            }
        }
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
        self.edges
            .find(edge_hash(at, level.as_bytes()), |&child| {
                let node = &self.nodes[child as usize];
                node.parent == at && *node.level == *level.as_bytes()
            })
            .copied()
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node::new(level, parent);
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
        match level {
            "+" => self.nodes[parent as usize].single = child,
            "#" => self.nodes[parent as usize].multi = child,
            _ => {
                self.nodes[parent as usize].literal_children += 1;
                let nodes = &self.nodes;
                self.edges.insert_unique(edge_hash(parent, level.as_bytes()), child, |&other| {
                    let node = &nodes[other as usize];
                    edge_hash(node.parent, &node.level)
                });
            }
        }
        child
    }

    /// Frees `at` and its ancestors as far as nothing is left in them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes[at as usize].is_vacant() {
            let node = std::mem::replace(&mut self.nodes[at as usize], Node::new("", ROOT));
            let parent = &mut self.nodes[node.parent as usize];
            match &*node.level {
                b"+" => parent.single = ROOT,
                b"#" => parent.multi = ROOT,
                level => {
                    parent.literal_children -= 1;
                    if let Ok(edge) =
                        self.edges.find_entry(edge_hash(node.parent, level), |&child| child == at)
                    {
                        edge.remove();
                    }
                }
            }
            self.free.push(at);
            at = node.parent;
        }
    }
}

impl<K: Eq + Hash + Copy, V> Node<K, V> {
    fn new(level: &str, parent: u32) -> Self {
        Self {
            level: Level::from_slice(level.as_bytes()),
            parent,
            single: ROOT,
            multi: ROOT,
            literal_children: 0,
            entries: Entries::None,
        }
    }

    fn is_vacant(&self) -> bool {
        self.entries.is_empty()
            && self.single == ROOT
            && self.multi == ROOT
            && self.literal_children == 0
    }
}

#[inline]
fn edge_hash(parent: u32, level: &[u8]) -> u64 {
    let mut hasher = FxBuildHasher.build_hasher();
    hasher.write_u32(parent);
    hasher.write(level);
    hasher.finish()
}

/// The entries of one filter: most have one, and a popular filter must not make removal slow.
#[derive(Debug)]
enum Entries<K, V> {
    None,
    One(K, V),
    /// At most [`FEW`].
    Few(Box<SmallVec<[(K, V); 4]>>),
    Many(Box<HashMap<K, V, FxBuildHasher>>),
}

/// From here on a scan costs more than a hash.
const FEW: usize = 16;

impl<K: Eq + Hash + Copy, V> Entries<K, V> {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(..) => false,
            Self::Few(entries) => entries.is_empty(),
            Self::Many(entries) => entries.is_empty(),
        }
    }

    fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::None => *self = Self::One(key, value),
            Self::One(other, old) if *other == key => return Some(std::mem::replace(old, value)),
            Self::One(..) => {
                if let Self::One(other, first) = std::mem::replace(self, Self::None) {
                    *self = Self::Few(Box::new(smallvec![(other, first), (key, value)]));
                }
            }
            Self::Few(entries) => {
                if let Some((_, old)) = entries.iter_mut().find(|(other, _)| *other == key) {
                    return Some(std::mem::replace(old, value));
                }
                entries.push((key, value));
                if entries.len() > FEW {
                    *self = Self::Many(Box::new(entries.drain(..).collect()));
                }
            }
            Self::Many(entries) => return entries.insert(key, value),
        }
        None
    }

    fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::One(other, _) if *other == key => match std::mem::replace(self, Self::None) {
                Self::One(_, value) => Some(value),
                _ => None,
            },
            Self::None | Self::One(..) => None,
            Self::Few(entries) => {
                let place = entries.iter().position(|(other, _)| *other == key)?;
                Some(entries.swap_remove(place).1)
            }
            Self::Many(entries) => entries.remove(&key),
        }
    }

    #[inline]
    fn for_each<'t>(&'t self, visit: &mut impl FnMut(K, &'t V)) {
        match self {
            Self::None => {}
            Self::One(key, value) => visit(*key, value),
            Self::Few(entries) => entries.iter().for_each(|(key, value)| visit(*key, value)),
            Self::Many(entries) => entries.iter().for_each(|(key, value)| visit(*key, value)),
        }
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
            assert_eq!(tree.edges.len(), 0);
        }
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
