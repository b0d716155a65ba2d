//! One value of which the last confirmed state is promised.

/// A change is possible once the broker has heard of it, and certain once it has answered.
#[derive(Debug, Clone, Default)]
pub struct Register<T> {
    confirmed: T,
    /// The oldest first.
    possible: Vec<T>,
}

impl<T: Clone + PartialEq> Register<T> {
    pub fn new(confirmed: T) -> Self {
        Self { confirmed, possible: Vec::new() }
    }

    pub fn begin(&mut self, value: T) {
        self.possible.push(value);
    }

    /// Answers come in the order of what they answer.
    pub fn confirm(&mut self, value: &T) {
        let place = self.possible.iter().position(|it| it == value);
        if let Some(place) = place {
            self.confirmed = self.possible.drain(..=place).next_back().expect("it was found there");
        }
    }

    pub fn allows(&self, value: &T) -> bool {
        self.values().any(|it| it == value)
    }

    /// All that it may be.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.confirmed).chain(&self.possible)
    }

    /// The value, where there is no doubt.
    pub fn certain(&self) -> Option<&T> {
        self.possible.is_empty().then_some(&self.confirmed)
    }
}
