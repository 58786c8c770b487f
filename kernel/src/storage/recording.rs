//! [`Storage`] that remembers what was asked of it, and in which order over all files, so that a test can
//! build every state that a crash could leave under the contract of [`Storage`].

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{MemoryStorage, Storage};

/// What a disk writes as a whole or not at all.
const SECTOR: u64 = 512;
/// Pieces in which a hole is punched.
const HOLE: u64 = 4096;

#[derive(Debug, Clone)]
enum Call {
    Write(u64, Arc<[u8]>),
    SetLen(u64),
    Punch(u64, u64),
    Sync,
}

/// What becomes of a call that was not synced when the crash came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never happened.
    Lost,
    /// It happened.
    Done,
    /// It happened in part: of its sectors (of a hole, its blocks) those whose bit is set, counted modulo 64.
    /// Lengths are whole by the lowest bit.
    Torn(u64),
}

#[derive(Debug, Default)]
struct Log {
    /// The states that the log starts from, by file.
    bases: Vec<MemoryStorage>,
    calls: Vec<(usize, Call)>,
}

/// The common log of a store's files.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    log: Arc<Mutex<Log>>,
}

impl Recorder {
    /// An empty log.
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// A recorded file that starts as `base`; files are numbered in the order of these calls.
    pub fn file(&self, base: MemoryStorage) -> RecordingStorage {
        let mut log = self.log.lock();
        log.bases.push(base.copy());
        RecordingStorage { file: log.bases.len() - 1, now: base, recorder: self.clone() }
    }

    /// Calls recorded so far: writes, lengths, punches, syncs.
    pub fn len(&self) -> usize {
        self.log.lock().calls.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// After how many calls the syncs returned, in ascending order.
    pub fn syncs(&self) -> Vec<usize> {
        let log = self.log.lock();
        let is_sync = |(_, (_, call)): &(usize, &(usize, Call))| matches!(call, Call::Sync);
        log.calls.iter().enumerate().filter(is_sync).map(|(i, _)| i + 1).collect()
    }

    /// Go through the log from its start.
    pub fn replay(&self) -> Replay {
        let log = self.log.lock();
        Replay {
            recorder: self.clone(),
            at: 0,
            durable: log.bases.iter().map(MemoryStorage::copy).collect(),
            pending: log.bases.iter().map(|_| Vec::new()).collect(),
        }
    }
}

/// A walk along a log, which can build what a crash at its place could leave.
#[derive(Debug)]
pub struct Replay {
    recorder: Recorder,
    at: usize,
    /// What was synced, by file.
    durable: Vec<MemoryStorage>,
    /// The calls since, by file.
    pending: Vec<Vec<Call>>,
}

impl Replay {
    /// Go on to the place behind the first `calls` calls.
    pub fn advance(&mut self, calls: usize) {
        assert!(calls >= self.at, "a replay goes forward only");
        let log = self.recorder.log.lock();
        for (file, call) in &log.calls[self.at..calls] {
            if let Call::Sync = call {
                for call in self.pending[*file].drain(..) {
                    apply(&self.durable[*file], &call, Fate::Done);
                }
            } else {
                self.pending[*file].push(call.clone());
            }
        }
        self.at = calls;
    }

    /// Calls to a file that a crash here may lose.
    pub fn pending(&self, file: usize) -> usize {
        self.pending[file].len()
    }

    /// What each file holds after a crash here. `fate` is asked for each call that was not synced, with its file;
    /// what happened did so in the order of the log.
    pub fn crash(&self, mut fate: impl FnMut(usize) -> Fate) -> Vec<MemoryStorage> {
        let mut files = Vec::new();
        for (file, (durable, pending)) in self.durable.iter().zip(&self.pending).enumerate() {
            let left = durable.copy();
            for call in pending {
                apply(&left, call, fate(file));
            }
            files.push(left);
        }
        files
    }
}

fn apply(storage: &MemoryStorage, call: &Call, fate: Fate) {
    let parts = match fate {
        Fate::Lost => return,
        Fate::Done => u64::MAX,
        Fate::Torn(parts) => parts,
    };
    let happened = match call {
        Call::Sync => Ok(()),
        Call::SetLen(len) if parts & 1 != 0 => storage.set_len(*len),
        Call::SetLen(_) => Ok(()),
        Call::Write(offset, data) => {
            pieces(*offset, data.len() as u64, SECTOR, parts).try_for_each(|(at, len)| {
                let from = (at - offset) as usize;
                storage.write_at(at, &data[from..from + len as usize])
            })
        }
        Call::Punch(offset, len) => {
            pieces(*offset, *len, HOLE, parts).try_for_each(|(at, len)| storage.punch(at, len))
        }
    };
    happened.expect("memory does not fail");
}

/// The aligned pieces of a range whose bits are set, as offset and length; all of it as one, when all are.
fn pieces(offset: u64, len: u64, size: u64, parts: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = offset + len;
    let size = if parts == u64::MAX { end.max(1) } else { size };
    let first = offset / size;
    (first..end.div_ceil(size)).filter(move |piece| parts >> ((piece - first) % 64) & 1 != 0).map(
        move |piece| {
            let from = (piece * size).max(offset);
            (from, ((piece + 1) * size).min(end) - from)
        },
    )
}

/// One file of a [`Recorder`].
#[derive(Debug)]
pub struct RecordingStorage {
    file: usize,
    now: MemoryStorage,
    recorder: Recorder,
}

impl RecordingStorage {
    fn record(&self, call: Call, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        // Under the log's lock, so that the log's order is the order of effects.
        let mut log = self.recorder.log.lock();
        log.calls.push((self.file, call));
        act()
    }
}

impl Storage for RecordingStorage {
    fn len(&self) -> io::Result<u64> {
        self.now.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.record(Call::SetLen(len), || self.now.set_len(len))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.now.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.record(Call::Write(offset, data.into()), || self.now.write_at(offset, data))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.record(Call::Punch(offset, len), || self.now.punch(offset, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.record(Call::Sync, || Ok(()))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.now.allocated()
    }
}
