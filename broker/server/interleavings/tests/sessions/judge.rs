//! What must hold when all connections are gone.

use hookmq_codec::ReasonCode;
use hookmq_interleavings::broker::sessions::OpenedSession;
use hookmq_store::engine::MemoryEngine;
use hookmq_store::{
    Change, CheckpointBounds, Ledger, MessageId, Opening, QueueKey, SessionKey, UnixMillis, Verify,
};

use super::scene::{Claim, Scene, Seen};

/// What else happened, or may have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meanwhile {
    /// The session's own end: by its client, or by its operator.
    pub ended: bool,
    /// Time may have passed before anybody came.
    pub time_passed: bool,
    /// All that has fallen due was set before anybody came.
    pub came_later: bool,
    pub has_will: bool,
}

const BACK: Claim = Claim { clean_start: false, is_patient: true };

/// What the store has made of its commits. None of a session begins twice, or ends twice, or is resumed
/// that is none.
pub fn stored(scene: &Scene) -> Ledger {
    let bounds = CheckpointBounds::default();
    let engine = Box::new(MemoryEngine::default());
    let (mut ledger, _) = Ledger::load(engine, bounds, 0, Verify::default()).expect("empty");
    for commit in scene.broker.stored.commits() {
        let knows = |session: &SessionKey| ledger.index().session(session).is_some();
        match &commit[..] {
            [Change::SessionOpened { session, opening, .. }, ..] => match opening {
                Opening::Clean => assert!(!knows(session), "it begins where one has not ended"),
                Opening::Resumed => assert!(knows(session), "it was forgotten"),
            },
            [Change::SessionEnded { session }, ..] => assert!(knows(session), "it ends twice"),
            _ => {}
        }
        ledger.commit([&commit], MessageId(1000), UnixMillis(1)).expect("memory");
    }
    ledger
}

/// All connections are gone: judges what they were told, has wills fall due, and the client come back, who
/// finds what it must.
pub fn conclude(scene: &Scene, meanwhile: Meanwhile) -> OpenedSession {
    let before = scene.history();
    scene.broker.let_time_pass(scene.broker.set_so_far(), false);
    judge_will(scene, &before, meanwhile);
    let known = stored(scene).index().session(&scene.key()).is_some();
    assert_eq!(scene.broker.find("c").is_some(), known, "the store and the broker know different");
    let opened = scene.connect(BACK).expect("nobody has the session, and nobody gets it");
    assert_eq!(opened.present, known);
    judge_sessions(scene, meanwhile);
    judge_message(scene, &opened);
    opened
}

/// Whoever comes to a session finds the last one, unless that has ended for a reason.
fn judge_sessions(scene: &Scene, meanwhile: Meanwhile) {
    let history = scene.history();
    let [_, expired] = scene.broker.counts();
    let mut reasons = expired + u64::from(meanwhile.ended);
    let mut passed_on = false;
    let somebody_gives_up = history.iter().any(|seen| {
        let (Seen::Opened { claim, .. } | Seen::Refused { claim, .. }) = seen;
        !claim.is_patient
    });
    let mut ends = 0;
    let mut last = None;
    for seen in &history {
        match *seen {
            Seen::Opened { claim, present, session } => {
                assert_eq!(present, last == Some(session), "{history:?}");
                assert!(!(claim.clean_start && present), "{history:?}");
                ends += u64::from(!present && !claim.clean_start && last.is_some());
                last = Some(session);
            }
            Seen::Refused { claim, reason_code: ReasonCode::SessionTakenOver } => {
                reasons += u64::from(claim.clean_start);
                passed_on |= !claim.clean_start;
            }
            Seen::Refused { reason_code, .. } => {
                assert_eq!(reason_code, ReasonCode::ServerBusy, "{history:?}");
                assert!(somebody_gives_up, "a session is not handed on: {history:?}");
            }
        }
    }
    if let [_, Seen::Opened { claim, present, .. }, ..] = history[..]
        && meanwhile.came_later
        && !claim.clean_start
    {
        assert_ne!(
            present,
            expired > 0,
            "what was due before is void for who is back: {history:?}"
        );
    }
    // Who gets a session that has ended leaves it to the next one.
    assert!(!passed_on || reasons > 0, "{history:?}");
    assert!(ends <= reasons, "a session is lost: {history:?}");
}

/// The will of the first connection is published, unless its client was back in the session before that
/// was due.
fn judge_will(scene: &Scene, history: &[Seen], meanwhile: Meanwhile) {
    let [published, _] = scene.broker.counts();
    let mut next = history.iter().filter_map(|seen| match seen {
        Seen::Opened { present, .. } => Some(*present),
        Seen::Refused { .. } => None,
    });
    let is_back = next.nth(1) == Some(true);
    let due = u64::from(meanwhile.has_will && !is_back);
    let early = u64::from(meanwhile.has_will && meanwhile.time_passed);
    assert!((due..=due.max(early)).contains(&published), "{published} wills: {history:?}");
    let ledger = stored(scene);
    let session = ledger.index().session(&scene.key());
    assert!(session.is_none_or(|it| it.will.is_none()), "the store has the will: {history:?}");
}

/// The session that was subscribed has all that was published for it.
fn judge_message(scene: &Scene, opened: &OpenedSession) {
    let subscribed = scene.tenant.subscribers();
    if !subscribed.iter().any(|it| it.id == opened.handle.id) {
        assert!(subscribed.is_empty(), "a session that has ended is still subscribed");
        return;
    }
    let ledger = stored(scene);
    let published = scene.broker.stored.commits();
    let published = published.iter().filter(|it| matches!(it[..], [Change::Queued { .. }, ..]));
    let waiting = ledger.index().queue(&QueueKey::Session(scene.key())).map_or(0, |it| it.len());
    assert_eq!(waiting, published.count());
    assert_eq!(opened.handle.mailbox.queued(), waiting);
}
