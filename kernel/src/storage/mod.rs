//! All input and output of the kernel goes through [`Storage`]: one growable array of bytes.
//!
//! A store has two of them, `blocks` and `catalog`. [`FileStorage`] is the real one,
//! [`MemoryStorage`] serves tests and fuzzing; with the feature `testing`, [`FaultyStorage`] fails on
//! request and [`RecordingStorage`] keeps what a crash could leave.

use std::{fmt, io};

mod file;
mod memory;

#[cfg(feature = "testing")]
mod faulty;
#[cfg(feature = "testing")]
mod recording;

pub use file::FileStorage;
pub use memory::MemoryStorage;

#[cfg(feature = "testing")]
pub use faulty::{Call, FaultPlan, FaultyStorage};
#[cfg(feature = "testing")]
pub use recording::{Fate, Recorder, RecordingStorage, Replay};

/// A growable array of bytes that keeps what was synced.
///
/// The contract, which every implementation and every caller may rely on:
///
/// - Calls may come from several threads. Reads and writes of disjoint ranges do not disturb each other;
///   a read that overlaps a write in progress may see any mixture of old and new bytes.
/// - A read sees every write that returned before it began.
/// - After a crash, everything that returned before the last successful `sync` *began* is there. Of all later
///   calls, each may have happened or not, in any order, and a write may have happened in part.
/// - After an error from `write_at`, `set_len`, `allocate` or `punch` the bytes concerned are undefined; all others
///   are untouched. After an error from `sync` nothing that came since the sync before may be relied on, not even
///   after a later one that succeeds.
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cut off or extend; new bytes are zero.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Fill `buf` from `offset` on. Bytes beyond the end are `UnexpectedEof`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The same if that needs no waiting for a medium; whether it was done. What `buf` holds otherwise is undefined.
    fn read_at_once(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
        self.read_at(offset, buf).map(|()| true)
    }

    /// As `read_at`, of data that is hardly read again soon, and needs not be kept in memory.
    fn read_uncached(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }

    /// Write all of `data` at `offset`; writing beyond the end extends, and what lies between is zero.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// As `write_at`, with data that is hardly read again soon, and needs not be kept in memory.
    fn write_uncached(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(offset, data)
    }

    /// Have a range take its space on the medium, whatever it holds; beyond the end it extends. Not all can.
    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Give the range's space back. Its bytes are unspecified until they are written again; the length stays.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Return when everything that was done before is durable.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that the contents take on the medium.
    fn allocated(&self) -> io::Result<u64>;
}
