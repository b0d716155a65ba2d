//! What can be done with a store that no broker uses: look at it, take it elsewhere, make it smaller.

use std::cell::Cell;
use std::io::{self, BufRead, Write};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::directory::{self, Directory, Sight};
use crate::engine::{Batch, EngineError, EngineStats, SqliteEngine, Synchronous, Table};
use crate::index::Unit;
use crate::ledger::read_head;
use crate::open::OpenError;
use crate::record::{Body, FORMAT};
use crate::{
    CheckpointBounds, Damage, Ledger, MessageId, OnDamage, Recovery, RetainedState, SessionState,
    SharedState, StoreOptions, UnixMillis, Verify,
};

/// What a look at everything has shown.
#[derive(Debug)]
pub struct Report {
    /// What is not there as it was written.
    pub damages: Vec<Damage>,
    /// What is wrong with the engine's own structures.
    pub engine: Vec<String>,
    pub stats: Stats,
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty() && self.engine.is_empty()
    }
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    pub last_commit: u64,
    pub sessions: usize,
    pub subscriptions: usize,
    /// Shared subscriptions.
    pub shared: usize,
    pub retained: usize,
    /// Messages on disk.
    pub messages: usize,
    /// References to them: waiting, in flight, retained, or wills.
    pub references: usize,
    pub bytes: u64,
    /// Of these, free for messages to come.
    pub free_bytes: u64,
}

/// Why an import ended. Nothing of it may be used then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("line {0}: {1}")]
    Line(usize, String),
    #[error("there is a store already: an import makes a new one")]
    NotEmpty,
    #[error("its last line is missing: it was cut off after line {0}")]
    CutOff(usize),
    #[error("messages are missing, the first is {}", .0.0)]
    Missing(MessageId),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    /// The first line.
    Store {
        format: u8,
        next_id: MessageId,
    },
    /// Before those who refer to it.
    Message(MessageLine),
    Session(SessionState),
    Shared(SharedState),
    Retained(RetainedState),
    /// The last line.
    End {
        /// Before this one.
        lines: usize,
    },
}

/// Properties and payload are in base64; times in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct MessageLine {
    id: MessageId,
    topic: String,
    properties: String,
    payload: String,
    qos: u8,
    retain: bool,
    stored_at: UnixMillis,
    expires_at: Option<UnixMillis>,
}

/// Reads all of a store, which stays as it is, and says what is wrong with it.
///
/// # Errors
/// Where it cannot be read at all.
pub fn check(directory: &Path) -> Result<Report, OpenError> {
    let (_sight, mut ledger, damages) = look_at(directory, Verify::All)?;
    let engine = ledger.engine().verify()?;
    Ok(Report { damages, engine, stats: stats_of(&mut ledger)? })
}

/// Lets go of what is damaged, and gives it.
///
/// # Errors
/// Where the store cannot be read at all.
pub fn repair(directory: &Path) -> Result<Vec<Damage>, OpenError> {
    expect_store(directory)?;
    let options = StoreOptions { on_damage: OnDamage::ServeRest, ..StoreOptions::new(directory) };
    Ok(Recovery::open(&options)?.damages().to_vec())
}

/// How much the store holds, which stays as it is.
///
/// # Errors
/// As [`Recovery::open`].
pub fn stats(directory: &Path) -> Result<Stats, OpenError> {
    let (_sight, mut ledger, damages) = look_at(directory, Verify::Index)?;
    expect_whole(damages)?;
    Ok(stats_of(&mut ledger)?)
}

/// Writes the checkpoint anew, drops the log, and gives free space back to the file system.
///
/// # Errors
/// As [`Recovery::open`]; and where there is no room for a copy, in which case all is as it was.
pub fn compact(directory: &Path) -> Result<(), OpenError> {
    expect_store(directory)?;
    let mut recovery = Recovery::open(&StoreOptions::new(directory))?;
    let ledger = recovery.ledger();
    ledger.finish(UnixMillis::now())?;
    Ok(ledger.engine().compact()?)
}

/// Writes the store, which stays as it is, as JSON lines.
///
/// # Errors
/// As [`Recovery::open`], or of `out`.
pub fn export(directory: &Path, out: &mut dyn Write) -> Result<(), ImportError> {
    let (_sight, mut ledger, damages) = look_at(directory, Verify::All)?;
    expect_whole(damages)?;
    let next_id = ledger.next_id();
    let (engine, index) = ledger.parts();
    let lines = Cell::new(0);
    let mut write = |line: &Line| -> io::Result<()> {
        lines.set(lines.get() + 1);
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    };
    write(&Line::Store { format: FORMAT, next_id })?;
    let mut failed = None;
    let scanned = engine.scan(Table::Body, 0..=u64::MAX, &mut |id, record| {
        let id = MessageId(id);
        // Every message that somebody is due was verified.
        let body = index.is_live(id).then(|| Body::unseal(id, record));
        let Some(Ok(body)) = body else { return true };
        failed = write(&Line::Message(MessageLine::new(id, &body))).err();
        failed.is_none()
    });
    failed.map_or(Ok(()), Err)?;
    scanned.map_err(OpenError::from)?;
    index.sessions().try_for_each(|it| write(&Line::Session(it.clone())))?;
    index.shared().try_for_each(|it| write(&Line::Shared(it.clone())))?;
    index.retained().try_for_each(|it| write(&Line::Retained(it.clone())))?;
    write(&Line::End { lines: lines.get() })?;
    Ok(out.flush()?)
}

/// Makes a store from an export. Where that fails there is none.
///
/// # Errors
/// Where there is a store, and with the first line that is not one.
pub fn import(directory: &Path, lines: &mut dyn BufRead) -> Result<Stats, ImportError> {
    let directory = Directory::open(directory).map_err(OpenError::from)?;
    let engine = SqliteEngine::open(&directory.database(), Synchronous::Full);
    let mut engine = Box::new(engine.map_err(OpenError::from)?);
    if !matches!(read_head(&mut *engine), Ok(None)) {
        return Err(ImportError::NotEmpty);
    }
    let (bounds, verify) = (CheckpointBounds::default(), Verify::All);
    let loaded = Ledger::load(engine, bounds, directory.durable(), verify);
    let (ledger, damages) = loaded.map_err(OpenError::from)?;
    if !damages.is_empty() {
        return Err(ImportError::NotEmpty);
    }
    let filled = fill(ledger, lines);
    if filled.is_err() {
        directory.clear();
    }
    filled
}

fn fill(mut ledger: Ledger, lines: &mut dyn BufRead) -> Result<Stats, ImportError> {
    read_lines(&mut ledger, lines)?;
    ledger.finish(UnixMillis::now()).map_err(OpenError::from)?;
    Ok(stats_of(&mut ledger).map_err(OpenError::from)?)
}

/// Reads a store that nobody uses meanwhile, and changes nothing.
fn look_at(directory: &Path, verify: Verify) -> Result<(Sight, Ledger, Vec<Damage>), OpenError> {
    expect_store(directory)?;
    let sight = Directory::look_at(directory)?;
    let engine = Box::new(SqliteEngine::look_at(&directory::database(directory))?);
    let bounds = CheckpointBounds::default();
    let (ledger, damages) = Ledger::load(engine, bounds, sight.durable, verify)?;
    Ok((sight, ledger, damages))
}

/// A slip of the pen makes no new store that is whole and empty.
fn expect_store(directory: &Path) -> Result<(), OpenError> {
    match directory::database(directory).exists() {
        true => Ok(()),
        false => Err(OpenError::Missing(directory.to_owned())),
    }
}

fn expect_whole(damages: Vec<Damage>) -> Result<(), OpenError> {
    match damages.iter().all(Damage::is_harmless) {
        true => Ok(()),
        false => Err(OpenError::Damaged(damages)),
    }
}

/// Larger than any that was ever given, and so far from the end of numbers that it is not reached.
const LARGEST_ID: u64 = 1 << 62;

fn read_lines(ledger: &mut Ledger, lines: &mut dyn BufRead) -> Result<(), ImportError> {
    const BATCH: usize = 1000;
    let mut batch = Batch::default();
    let (mut read, mut ended) = (0, false);
    for (number, line) in lines.lines().enumerate() {
        let wrong = |text: String| ImportError::Line(number + 1, text);
        if ended {
            return Err(wrong("an export ends with the line of kind \"end\"".into()));
        }
        read = number + 1;
        let line = serde_json::from_str(&line?).map_err(|error| wrong(error.to_string()))?;
        if (number == 0) != matches!(line, Line::Store { .. }) {
            return Err(wrong("an export begins with one line of kind \"store\"".into()));
        }
        match line {
            Line::Store { format, .. } if format > FORMAT => {
                return Err(wrong(format!("format {format} is later than {FORMAT}")));
            }
            Line::Store { next_id: id, .. } | Line::Message(MessageLine { id, .. })
                if id.0 > LARGEST_ID =>
            {
                return Err(wrong(format!("the id {} was never given", id.0)));
            }
            Line::Store { next_id, .. } => ledger.reserve_ids(next_id),
            Line::Message(message) => {
                let (id, record) = message.record().map_err(wrong)?;
                ledger.reserve_ids(MessageId(id.0 + 1));
                batch.records.push((Table::Body, id.0, record));
            }
            Line::Session(state) => ledger.restore(Unit::Session(state)),
            Line::Shared(state) => ledger.restore(Unit::Shared(state)),
            Line::Retained(state) => ledger.restore(Unit::Retained(state)),
            Line::End { lines } if lines != number => {
                return Err(wrong(format!("{lines} lines were written, and {number} are there")));
            }
            Line::End { .. } => ended = true,
        }
        if batch.records.len() >= BATCH {
            ledger.engine().write(&std::mem::take(&mut batch)).map_err(OpenError::from)?;
        }
    }
    if !ended {
        return Err(ImportError::CutOff(read));
    }
    ledger.engine().write(&batch).map_err(OpenError::from)?;
    let due = ledger.index().live();
    match due.into_iter().find(|id| !has_message(ledger, *id)) {
        Some(missing) => Err(ImportError::Missing(missing)),
        None => Ok(()),
    }
}

fn has_message(ledger: &mut Ledger, id: MessageId) -> bool {
    ledger.engine().read(Table::Body, id.0).is_ok_and(|record| record.is_some())
}

fn stats_of(ledger: &mut Ledger) -> Result<Stats, EngineError> {
    let EngineStats { bytes, free_bytes } = ledger.engine().stats()?;
    let index = ledger.index();
    let of_sessions: usize = index.sessions().map(|it| it.message_ids().count()).sum();
    let of_shared: usize = index.shared().map(|it| it.queue.len()).sum();
    let retained = index.retained().count();
    Ok(Stats {
        last_commit: ledger.last_commit(),
        sessions: index.sessions().count(),
        subscriptions: index.sessions().map(|it| it.subscriptions.len()).sum(),
        shared: index.shared().count(),
        retained,
        messages: index.messages(),
        references: of_sessions + of_shared + retained,
        bytes,
        free_bytes,
    })
}

impl MessageLine {
    fn new(id: MessageId, body: &Body<'_>) -> Self {
        Self {
            id,
            topic: body.topic.into(),
            properties: BASE64_STANDARD.encode(body.forwarded_properties),
            payload: BASE64_STANDARD.encode(body.payload),
            qos: body.qos,
            retain: body.retain,
            stored_at: body.stored_at,
            expires_at: body.expires_at,
        }
    }

    /// The message's record, if the line makes one.
    fn record(&self) -> Result<(MessageId, Vec<u8>), String> {
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|error| error.to_string());
        let (properties, payload) = (bytes(&self.properties)?, bytes(&self.payload)?);
        let body = Body {
            topic: &self.topic,
            forwarded_properties: &properties,
            payload: &payload,
            qos: self.qos,
            retain: self.retain,
            stored_at: self.stored_at,
            expires_at: self.expires_at,
        };
        let message = body.message(self.id).map_err(|error| error.to_string())?;
        message.message.properties().map_err(|error| error.to_string())?;
        Ok((self.id, body.seal(self.id)))
    }
}
