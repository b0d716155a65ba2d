//! What a client knows about whether the broker has its session.

/// Whether the broker has the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    #[default]
    Absent,
    /// The first CONNECT since is not answered.
    Asked,
    /// A CONNECT was never answered.
    Unknown,
    /// CONNACK was read.
    Confirmed,
}

impl Presence {
    /// CONNECT without a clean start is about to be sent.
    pub fn asked(&mut self) {
        *self = match self {
            Self::Absent => Self::Asked,
            Self::Asked | Self::Unknown => Self::Unknown,
            Self::Confirmed => Self::Confirmed,
        }
    }

    /// CONNACK was read.
    ///
    /// # Errors
    /// Session present says what cannot be.
    pub fn answered(&mut self, session_present: bool) -> Result<(), &'static str> {
        match (std::mem::replace(self, Self::Confirmed), session_present) {
            (Self::Confirmed, false) => Err("a session that was confirmed is forgotten"),
            (Self::Absent | Self::Asked, true) => {
                Err("a session is there that was never begun, or has ended")
            }
            _ => Ok(()),
        }
    }

    /// CONNACK was read behind a clean start.
    ///
    /// # Errors
    /// The broker says that there is a session all the same.
    pub fn answered_clean(
        &mut self,
        session_present: bool,
        kept: Self,
    ) -> Result<(), &'static str> {
        *self = kept;
        if session_present { Err("a clean start found a session") } else { Ok(()) }
    }
}
