//! A small memory of what was found out about the topics that a connection uses.

use std::hash::{BuildHasher, Hasher};

use rustc_hash::FxBuildHasher;

/// One value per topic, the newer topic taking the place of an older one with the same hash.
///
/// Most clients use a handful of topics: the table starts with one place and grows to
/// [`TopicCache::PLACES`]. What is displaced is only found out anew.
#[derive(Debug)]
pub struct TopicCache<T> {
    places: Vec<Place<T>>,
}

#[derive(Debug, Default)]
struct Place<T> {
    topic: String,
    value: T,
}

/// What may be remembered of a topic.
pub trait Forget: Default {
    /// Becomes as new, for another topic. It may keep its memory.
    fn forget(&mut self) {
        *self = Self::default();
    }
}

impl<T> Forget for Option<T> {}

impl<T: Copy> Forget for [Option<T>; 6] {}

impl<T> Default for TopicCache<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T: Forget> TopicCache<T> {
    const PLACES: usize = 64;
    /// Longer topics are not remembered, which bounds the memory of a connection.
    const LONGEST: usize = 256;

    /// The value of `topic`; a default one where it is not known.
    #[inline]
    pub fn entry(&mut self, topic: &str) -> &mut T {
        let mut place = self.place(topic);
        if self.places.get(place).is_none_or(|it| it.topic != topic) {
            place = self.displace(topic);
        }
        &mut self.places[place].value
    }

    pub fn clear(&mut self) {
        self.places = Vec::new();
    }

    #[inline]
    fn place(&self, topic: &str) -> usize {
        if self.places.len() <= 1 {
            return 0;
        }
        let mut hasher = FxBuildHasher.build_hasher();
        hasher.write(topic.as_bytes());
        hasher.finish() as usize & (self.places.len() - 1)
    }

    #[cold]
    fn displace(&mut self, topic: &str) -> usize {
        while self.places.len() < Self::PLACES
            && self.places.get(self.place(topic)).is_none_or(|it| !it.topic.is_empty())
        {
            let old = std::mem::take(&mut self.places);
            self.places.resize_with((old.len() * 2).max(1), Place::default);
            for entry in old.into_iter().filter(|it| !it.topic.is_empty()) {
                let place = self.place(&entry.topic);
                self.places[place] = entry;
            }
        }
        let place = self.place(topic);
        let entry = &mut self.places[place];
        entry.value.forget();
        entry.topic.clear();
        if topic.len() <= Self::LONGEST {
            entry.topic.push_str(topic);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Forget for u32 {}

    impl Forget for String {}

    #[test]
    fn a_value_stays_until_its_place_is_needed() {
        let mut cache = TopicCache::<u32>::default();
        *cache.entry("a") = 1;
        *cache.entry("b") = 2;
        assert_eq!((*cache.entry("b"), *cache.entry("a")), (2, 1));
        cache.clear();
        assert_eq!(*cache.entry("a"), 0);
    }

    #[test]
    fn the_table_is_bounded_and_never_mixes_topics() {
        let mut cache = TopicCache::<String>::default();
        for round in 0..3 {
            for number in 0..1000 {
                let topic = format!("devices/{number}");
                let value = cache.entry(&topic);
                assert!(value.is_empty() || *value == topic, "round {round}");
                value.clone_from(&topic);
            }
        }
        assert_eq!(cache.places.len(), TopicCache::<String>::PLACES);
    }

    #[test]
    fn a_long_topic_is_not_kept() {
        let mut cache = TopicCache::<u32>::default();
        let long = "x".repeat(1000);
        *cache.entry(&long) = 1;
        assert_eq!(*cache.entry(&long), 0);
    }
}
