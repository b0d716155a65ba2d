//! Which messages of one publisher have arrived: losses, duplicates and order, exactly.

use std::collections::BTreeMap;

/// Sequence numbers that a receiver has seen, out of 0, 1, 2 and so on.
#[derive(Debug, Default)]
pub struct Ledger {
    /// One above the highest number seen.
    next: u64,
    /// Numbers below `next` that are missing: first and one above the last of each range.
    missing: BTreeMap<u64, u64>,
    /// Different numbers.
    pub received: u64,
    pub duplicates: u64,
    /// Numbers that came after a higher one.
    pub disordered: u64,
}

impl Ledger {
    /// Whether the number comes for the first time.
    #[inline]
    pub fn note(&mut self, number: u64) -> bool {
        if number == self.next {
            self.next += 1;
            self.received += 1;
            return true;
        }
        self.note_unexpected(number)
    }

    fn note_unexpected(&mut self, number: u64) -> bool {
        if number > self.next {
            self.missing.insert(self.next, number);
            self.next = number + 1;
            self.received += 1;
            return true;
        }
        let range = self.missing.range(..=number).next_back();
        let Some((&first, &end)) = range.filter(|(_, end)| **end > number) else {
            self.duplicates += 1;
            return false;
        };
        self.missing.remove(&first);
        if first < number {
            self.missing.insert(first, number);
        }
        if number + 1 < end {
            self.missing.insert(number + 1, end);
        }
        self.received += 1;
        self.disordered += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(numbers: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for number in numbers {
            ledger.note(*number);
        }
        ledger
    }

    fn counts(numbers: &[u64]) -> (u64, u64, u64) {
        let ledger = noted(numbers);
        (ledger.received, ledger.duplicates, ledger.disordered)
    }

    #[test]
    fn what_comes_in_order_is_received() {
        assert_eq!(counts(&[0, 1, 2]), (3, 0, 0));
    }

    #[test]
    fn what_is_left_out_is_not_received() {
        assert_eq!(counts(&[0, 3, 4, 9]), (4, 0, 0));
        assert_eq!(counts(&[5]), (1, 0, 0));
    }

    #[test]
    fn what_comes_twice_is_a_duplicate() {
        assert_eq!(counts(&[0, 0, 1, 2, 1]), (3, 2, 0));
        assert_eq!(counts(&[0, 5, 5, 0]), (2, 2, 0));
    }

    #[test]
    fn what_comes_late_is_out_of_order_and_no_loss() {
        assert_eq!(counts(&[1, 0]), (2, 0, 1));
        // The middle, the start, the end and the rest of one gap.
        let ledger = noted(&[0, 10, 5, 1, 9, 3, 4, 2, 6, 7, 8]);
        assert_eq!((ledger.received, ledger.duplicates, ledger.disordered), (11, 0, 9));
        assert!(ledger.missing.is_empty());
    }

    #[test]
    fn a_late_message_that_comes_again_is_a_duplicate() {
        assert_eq!(counts(&[0, 10, 5, 5, 10]), (3, 2, 1));
    }
}
