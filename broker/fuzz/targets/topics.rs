//! The matcher against one that is written from the specification, and what covering promises.

#![no_main]

use hookmq_codec::{TopicFilter, TopicName, filter_covers, filter_intersects};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let [Some(wide), Some(narrow), Some(topic)] = [lines.next(), lines.next(), lines.next()] else {
        return;
    };
    let (Ok(wide), Ok(narrow)) = (TopicFilter::new(wide), TopicFilter::new(narrow)) else { return };
    let covers = filter_covers(wide.bare(), narrow.bare());
    let intersects = filter_intersects(wide.bare(), narrow.bare());
    assert_eq!(intersects, filter_intersects(narrow.bare(), wide.bare()));
    assert!(filter_covers(wide.bare(), wide.bare()), "a filter covers itself");
    assert!(!covers || intersects, "what is covered is touched");
    let Ok(topic) = TopicName::new(topic) else { return };
    let (by_wide, by_narrow) = (wide.matches(topic), narrow.matches(topic));
    assert_eq!(by_wide, is_match(wide.bare(), topic.as_str()));
    assert_eq!(by_narrow, is_match(narrow.bare(), topic.as_str()));
    assert!(!(covers && by_narrow) || by_wide, "what is covered is matched");
    assert!(!(by_wide && by_narrow) || intersects, "both match a topic");
});

/// Section 4.7 of the specification, level by level.
fn is_match(filter: &str, topic: &str) -> bool {
    let begins_with_wildcard = filter.starts_with(['+', '#']);
    if topic.starts_with('$') && begins_with_wildcard {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) => return true,
            (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}
