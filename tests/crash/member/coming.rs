//! How a client comes and goes.

use hookmq_codec::{
    Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet, ReasonCode,
};
use hookmq_tests::client::{connect, connect_to_session};
use rand::Rng;

use super::{Keeping, Member, Phase, Role, Stage, Start, Subscription};
use crate::link::Link;
use crate::record::{Check, Presence, Record};

/// Far longer than any run.
const EXPIRY_S: u32 = 7 * 24 * 3600;

impl Member {
    pub fn connect(&mut self, link: Link, stage: &mut Stage<'_>) {
        let Role { name, version, .. } = &self.role;
        let (name, version) = (name.clone(), *version);
        let will = self.testament.write(self.role.will.as_ref(), stage.record);
        let receive_maximum =
            self.role.receive_maximum.filter(|_| version.is_v5()).and_then(std::num::NonZero::new);
        self.choose_start(stage);
        let clean_start = self.start == Start::Clean;
        let packet = match self.is_durable() {
            true => Connect { clean_start, ..connect_to_session(version, &name, EXPIRY_S) },
            false => connect(version, &name),
        };
        let properties = ConnectProperties { receive_maximum, ..packet.properties.clone() };
        let will = will.as_ref().map(|it| it.packet());
        let packet = Packet::Connect(Box::new(Connect { will, properties, ..packet }));
        self.link = Some(link);
        self.phase = Phase::Connecting;
        self.send(&packet, stage);
    }

    fn choose_start(&mut self, stage: &mut Stage<'_>) {
        if self.role.keeping == Keeping::Transient
            || stage.rng.random_range(0..100) < self.role.amnesia
        {
            self.start = Start::Clean;
        }
        match self.start {
            Start::Resuming => self.presence.asked(),
            Start::Clean => {
                for subscription in &self.role.subscriptions {
                    stage.record.ending(subscription.recipient);
                }
            }
        }
    }

    /// The connection is over, and neither side has said so.
    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        stage.record.history.note(|| format!("{} cuts its connection", self.role.name));
        let will_is_due = self.phase == Phase::Connected;
        self.drop_link();
        if will_is_due {
            self.testament.lost(self.role.will.as_ref(), stage);
        }
    }

    /// Gives up its connection, which the broker is yet to close for the next one's sake.
    pub fn abandon(&mut self, stage: &mut Stage<'_>) -> Option<Link> {
        stage.record.history.note(|| format!("{} connects anew beside", self.role.name));
        let link = self.link.take();
        self.drop_link();
        self.testament.lost(self.role.will.as_ref(), stage);
        link
    }

    /// Sends DISCONNECT.
    pub fn leave(&mut self, stage: &mut Stage<'_>) {
        self.send_answers(stage);
        let properties = DisconnectProperties::default();
        let reason_code = ReasonCode::Success;
        self.send(&Packet::Disconnect(Disconnect { reason_code, properties }), stage);
        self.phase = Phase::Leaving;
    }

    /// The broker has closed the connection, which it may do after DISCONNECT only.
    pub fn closed(&mut self, stage: &mut Stage<'_>) {
        stage.record.history.note(|| format!("{} is closed", self.role.name));
        match self.phase {
            Phase::Leaving => self.testament.revoked(stage.record),
            _ => {
                let text =
                    format!("{} was closed by the broker in {:?}", self.role.name, self.phase);
                stage.record.violate(Check::Refused, text);
            }
        }
        self.drop_link();
    }

    /// The broker was killed, and all that it had sent was read.
    pub fn killed(&mut self, stage: &mut Stage<'_>) {
        let will_is_due = self.phase == Phase::Connected;
        self.drop_link();
        if will_is_due {
            self.testament.lost(self.role.will.as_ref(), stage);
        }
    }

    /// The broker was told to stop and has, without publishing the will.
    pub fn stopped(&mut self, stage: &mut Stage<'_>) {
        let was_admitted = matches!(self.phase, Phase::Connected | Phase::Leaving);
        self.drop_link();
        if was_admitted {
            self.testament.revoked(stage.record);
        }
    }

    /// The delay of a will is over, and its client has not come back.
    pub fn delay_is_over(&mut self, record: &mut Record) {
        self.testament.delay_is_over(record);
    }

    fn drop_link(&mut self) {
        if self.phase != Phase::Connecting {
            self.start = Start::Resuming;
        }
        self.link = None;
        self.phase = Phase::Away;
        self.answers.clear();
        self.role.subscriptions.iter_mut().for_each(Subscription::lose_connection);
    }

    pub(super) fn handle_connack(&mut self, session_present: bool, stage: &mut Stage<'_>) {
        let answered = match self.start {
            Start::Resuming => self.presence.answered(session_present),
            Start::Clean => {
                for subscription in &self.role.subscriptions {
                    stage.record.ended(subscription.recipient);
                }
                let kept = if self.is_durable() { Presence::Confirmed } else { Presence::Absent };
                self.presence.answered_clean(session_present, kept)
            }
        };
        if let Err(wrong) = answered {
            let text = format!("{}: {wrong}", self.role.name);
            stage.record.violate(Check::Session, text);
        }
        self.phase = Phase::Connected;
        self.testament.came_back(stage);
        if !session_present {
            self.inbox.clear();
            self.outbox.forget_released();
            self.role.subscriptions.iter_mut().for_each(Subscription::begin_anew);
        }
        for outgoing in self.outbox.again(stage.record, session_present) {
            self.send_outgoing(&outgoing, stage);
        }
    }
}
