//! The log: what was committed since the database's own last commit.
//!
//! A commit is made durable by one write and one sync here, however its rows are scattered in the database, which
//! has them in memory only until the log is full. Opening brings them back from the log. The log lies before the
//! database in the catalogue's file, has a fixed length, and is written from its start again after each commit of
//! the database (docs/format.md).

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::reserve::Reserve;
use crate::storage::Storage;

/// Length of the log. A commit that finds no room goes to the database itself, which takes some ten milliseconds:
/// seldom enough with this many records, and so few are brought back within milliseconds.
pub const LOG_BYTES: u64 = 2 << 20;
/// Records begin at multiples of this, so that none shares a disk's sector with one that was synced before.
const ALIGNED: u64 = 4096;
/// No more have room.
const RECORDS: u64 = LOG_BYTES / ALIGNED;
/// Before the changes: checksum (4), their length (4), the commit's number (8).
const HEAD: usize = 16;

/// The log of an open catalogue.
#[derive(Debug)]
pub struct Log {
    storage: Arc<dyn Storage>,
    reserve: Arc<Reserve>,
    store_id: [u8; 16],
    /// Where the next record goes.
    end: u64,
}

/// A record as it was found: its commit's number and changes, and where it lies.
#[derive(Debug)]
struct Record {
    number: u64,
    bytes: Vec<u8>,
    at: u64,
}

impl Record {
    fn end(&self) -> u64 {
        self.at + (self.bytes.len() as u64).next_multiple_of(ALIGNED)
    }
}

impl Log {
    /// Make the room. It is written, not left as a hole: writing over it later changes nothing but data.
    pub fn create(storage: &dyn Storage) -> Result<()> {
        let zeros = vec![0; LOG_BYTES as usize];
        storage
            .write_at(0, &zeros)
            .and_then(|()| storage.sync())
            .map_err(|e| Error::io("making the catalogue's log", &e))
    }

    /// Find what was committed behind commit `last`, in order, and make sure that it lasts.
    pub fn recover(
        storage: Arc<dyn Storage>,
        reserve: Arc<Reserve>,
        store_id: [u8; 16],
        last: u64,
    ) -> Result<(Log, Vec<Vec<u8>>)> {
        let mut log = Log { storage, reserve, store_id, end: 0 };
        let mut next = last + 1;
        let mut found: Vec<Record> = Vec::new();
        while log.end < LOG_BYTES {
            match log.read(log.end, 0..=next + RECORDS)? {
                Some(record) if record.number == next => {
                    log.end = record.end();
                    next += 1;
                    found.push(record);
                }
                // Of an earlier round: nothing was written over it yet.
                Some(record) if record.number < next => break,
                _ => {
                    log.refuse_gap(next)?;
                    break;
                }
            }
        }
        if let Some(record) = found.last() {
            // The system may have it in memory only, its last sync having failed, or not having come.
            log.write(record.at, &record.bytes)?;
        }
        Ok((log, found.into_iter().map(|record| record.bytes[HEAD..].to_vec()).collect()))
    }

    /// Whether the log begins with what comes behind commit `last`: only so does opening find what is written to it.
    pub fn follows(&self, last: u64) -> Result<bool> {
        Ok(self.end == 0 || self.read(0, 0..=u64::MAX)?.is_some_and(|record| record.number == last + 1))
    }

    /// The changes of all commits behind commit `last`, in order: of those that it was told to keep.
    pub fn since(&self, last: u64) -> Result<Vec<Vec<u8>>> {
        let (mut at, mut found) = (0, Vec::new());
        while at < self.end {
            let Some(record) = self.read(at, 0..=u64::MAX)? else {
                return Err(Error::damaged("the catalogue's log has changed since it was written"));
            };
            at = record.end();
            if record.number > last {
                found.push(record.bytes[HEAD..].to_vec());
            }
        }
        Ok(found)
    }

    /// The record at a place, if there is one with such a number.
    fn read(&self, at: u64, numbers: RangeInclusive<u64>) -> Result<Option<Record>> {
        let read = |len: usize| {
            let mut bytes = vec![0; len];
            let done = self.storage.read_at(at, &mut bytes);
            done.map(|()| bytes).map_err(|e| Error::io("reading the catalogue's log", &e))
        };
        let head = read(HEAD)?;
        let len = HEAD + u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) as usize;
        let number = u64::from_le_bytes(head[8..].try_into().expect("eight bytes"));
        if at + len as u64 > LOG_BYTES || !numbers.contains(&number) {
            return Ok(None);
        }
        let bytes = read(len)?;
        let sound = bytes[..4] == self.checksum(&bytes[4..]).to_le_bytes();
        Ok(sound.then_some(Record { number, bytes, at }))
    }

    /// What is at the end is no record of commit `next`: because of a crash, unless a later one is behind it, or
    /// in its place.
    fn refuse_gap(&self, next: u64) -> Result<()> {
        for at in (self.end..LOG_BYTES).step_by(ALIGNED as usize) {
            if let Some(record) = self.read(at, next..=next + RECORDS)? {
                return Err(Error::damaged(format!(
                    "the catalogue's log breaks off at commit {next}, and has commit {}",
                    record.number
                )));
            }
        }
        Ok(())
    }

    /// Whether a record with so many bytes of changes has room.
    pub fn has_room(&self, len: usize) -> bool {
        self.end + (HEAD + len) as u64 <= LOG_BYTES
    }

    /// Whether the database has all.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Write commit `number`, which has room, and make it durable. If there is no space for it, the log is as before.
    pub fn append(&mut self, number: u64, changes: &[u8]) -> Result<()> {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&(changes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(changes);
        let sum = self.checksum(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        self.write(self.end, &bytes)?;
        self.end += (bytes.len() as u64).next_multiple_of(ALIGNED);
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.reserve
            .write(&*self.storage, at, bytes)
            .map_err(|e| Error::io("writing the catalogue's log", &e))?;
        self.storage.sync().map_err(|e| Error::sync("syncing the catalogue's log", &e))
    }

    /// The database has all: begin again at the start.
    pub fn restart(&mut self) {
        self.end = 0;
    }

    /// CRC-32 of the store's id and what follows the checksum.
    fn checksum(&self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.store_id);
        hasher.update(bytes);
        hasher.finalize()
    }
}
