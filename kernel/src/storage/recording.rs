//! [`Storage`] that remembers what was asked of it, and in which order over all files, so that a test can
//! build every state that a crash could leave under the contract of [`Storage`].

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{MemoryStorage, Storage};

#[derive(Debug, Clone)]
enum Call {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Punch(u64, u64),
    Sync,
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

    /// What each file holds after a crash behind the first `calls` calls.
    ///
    /// Every call before its file's last sync happened. For each later one `keep` says what became of it:
    /// 0 lost, 1 done, otherwise a write is torn: only its first half (2) or last half (3) is there, in units of
    /// 512 bytes.
    pub fn crash(&self, calls: usize, mut keep: impl FnMut() -> u8) -> Vec<MemoryStorage> {
        let log = self.log.lock();
        let files: Vec<MemoryStorage> = log.bases.iter().map(MemoryStorage::copy).collect();
        let mut synced = vec![0; files.len()];
        for (i, (file, call)) in log.calls[..calls].iter().enumerate() {
            if matches!(call, Call::Sync) {
                synced[*file] = i;
            }
        }
        for (i, (file, call)) in log.calls[..calls].iter().enumerate() {
            let fate = if i < synced[*file] { 1 } else { keep() };
            let storage = &files[*file];
            let done = match (call, fate) {
                (Call::Sync, _) | (_, 0) => Ok(()),
                (Call::SetLen(len), _) => storage.set_len(*len),
                (Call::Punch(offset, len), _) => storage.punch(*offset, *len),
                (Call::Write(offset, data), 1) => storage.write_at(*offset, data),
                (Call::Write(offset, data), torn) => {
                    let middle = data.len() / 2 / 512 * 512;
                    if torn == 2 {
                        storage.write_at(*offset, &data[..middle])
                    } else {
                        storage.write_at(*offset + middle as u64, &data[middle..])
                    }
                }
            };
            done.expect("memory does not fail");
        }
        files
    }
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
        self.record(Call::Write(offset, data.to_vec()), || self.now.write_at(offset, data))
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
