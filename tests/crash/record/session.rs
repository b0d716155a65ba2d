//! What a client knows about whether the broker has its session.

/// Whether the broker has the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// It was never asked for.
    #[default]
    Absent,
    /// CONNECT was sent and not answered.
    Unknown,
    /// CONNACK was read.
    Confirmed,
}

impl Presence {
    /// CONNECT without a clean start is about to be sent.
    pub fn asked(&mut self) {
        if *self == Self::Absent {
            *self = Self::Unknown;
        }
    }

    /// CONNACK was read.
    ///
    /// # Errors
    /// Session present says what cannot be.
    pub fn answered(&mut self, session_present: bool) -> Result<(), &'static str> {
        match (std::mem::replace(self, Self::Confirmed), session_present) {
            (Self::Confirmed, false) => Err("a session that was confirmed is forgotten"),
            (Self::Absent, true) => Err("a session is there that was never asked for"),
            _ => Ok(()),
        }
    }
}
