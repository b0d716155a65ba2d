//! A disk that loses power, fills up, fails and rots as a seed says.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use hookmq_store::engine::Engine;
use redb::StorageBackend;

use crate::model::Disk;
use crate::random::Random;
use crate::redb_engine::RedbEngine;

/// Handles share the disk; what one writes, the other reads.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl Disk for SimulatedDisk {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(RedbEngine::open(self.clone()).unwrap())
    }
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    content: Vec<u8>,
    /// What is left when the power goes now, at least.
    synced: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Pending>,
    /// Writes, changes of length and syncs so far.
    steps: u64,
    trouble: Option<Trouble>,
    /// After a power cut nothing works until the disk is taken out.
    off: bool,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// What happens at a step.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub at: u64,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    PowerCut,
    /// The step fails with ENOSPC, and those behind it.
    Full,
    /// The step fails with EIO, and those behind it.
    Broken,
}

const SECTOR: usize = 512;

impl SimulatedDisk {
    pub fn arm(&self, trouble: Trouble) {
        self.state().trouble = Some(trouble);
    }

    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Cuts the power. What was synced is there afterwards; of what was not, some sectors of some
    /// writes are, in no order.
    pub fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut state = self.state();
        state.off = true;
        let mut content = state.synced.clone();
        // Each disk has a mood: from nothing written back to nearly everything.
        let mood = random.below(9);
        for pending in &state.pending {
            match pending {
                Pending::Length(length) if random.below(8) < mood => {
                    content.resize(*length as usize, 0);
                }
                Pending::Length(_) => {}
                Pending::Write(offset, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if random.below(8) < mood {
                            put(&mut content, *offset as usize + number * SECTOR, sector);
                        }
                    }
                }
            }
        }
        Self::of(content)
    }

    /// A disk with these bytes.
    pub fn of(content: Vec<u8>) -> Self {
        let state = State { synced: content.clone(), content, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn content(&self) -> Vec<u8> {
        self.state().content.clone()
    }

    pub fn length(&self) -> io::Result<u64> {
        Ok(self.state().content.len() as u64)
    }

    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let start = offset as usize;
        let bytes = state.content.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    pub fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.step(Pending::Length(length))?;
        state.content.resize(length as usize, 0);
        Ok(())
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.step(Pending::Write(offset, bytes.to_vec()))?;
        put(&mut state.content, offset as usize, bytes);
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.advance()?;
        state.pending.clear();
        state.synced = state.content.clone();
        Ok(())
    }

    fn step(&self, pending: Pending) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        // What is under way when the power goes may be there in part.
        if !state.off {
            state.pending.push(pending);
        }
        if let Err(error) = state.advance() {
            if !state.off {
                state.pending.pop();
            }
            return Err(error);
        }
        Ok(state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self) -> io::Result<()> {
        self.steps += 1;
        let Some(Trouble { kind, .. }) = self.trouble.filter(|it| it.at <= self.steps) else {
            return if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) };
        };
        match kind {
            Kind::PowerCut => {
                self.off = true;
                Err(io::Error::other("the power is off"))
            }
            Kind::Full => Err(ErrorKind::StorageFull.into()),
            Kind::Broken => Err(io::Error::other("input/output error")),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl StorageBackend for SimulatedDisk {
    fn len(&self) -> Result<u64, io::Error> {
        self.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.read(offset, out)
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.set_length(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.write(offset, data)
    }
}
