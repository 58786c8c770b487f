//! Room that is kept for the catalogue, so that deleting is possible on a full file system.
//!
//! Getting space back is itself a change of the catalogue, which may have to write where its file has no space yet. So a
//! file of its own takes some space and holds nothing. When the catalogue finds none, the file is emptied and the
//! catalogue tries again. The store is *short* then until the file is filled again: no new blocks are given out
//! meanwhile, so that what deleting frees comes here first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::{fmt, io};

use parking_lot::Mutex;

use crate::error::is_no_space;
use crate::storage::Storage;

/// The least and the most that is kept; in between a part of what the blocks take.
const LEAST: u64 = 4 << 20;
const MOST: u64 = 64 << 20;
const PART: u64 = 256;
/// Space is asked for in such pieces: what there is, is taken, be it less than is wanted.
const PIECE: u64 = 1 << 20;

/// The file, or none.
pub struct Reserve {
    storage: Option<Arc<dyn Storage>>,
    /// One at a time fills and releases.
    changing: Mutex<()>,
    wanted: AtomicU64,
    short: AtomicBool,
}

impl Reserve {
    /// Keep room in a file whose contents are of no account.
    pub fn new(storage: Arc<dyn Storage>) -> Reserve {
        Reserve { storage: Some(storage), ..Reserve::none() }
    }

    /// Keep no room.
    pub fn none() -> Reserve {
        Reserve {
            storage: None,
            changing: Mutex::new(()),
            wanted: AtomicU64::new(LEAST),
            short: AtomicBool::new(false),
        }
    }

    /// Whether less is kept than is wanted.
    pub fn is_short(&self) -> bool {
        self.short.load(SeqCst)
    }

    /// Keep what suits a store whose blocks take `bytes`.
    pub fn fit(&self, bytes: u64) {
        self.wanted.store((bytes / PART).clamp(LEAST, MOST), SeqCst);
        self.fill();
    }

    /// Take what is missing; whether it is all there now.
    pub fn fill(&self) -> bool {
        let Some(storage) = &self.storage else { return true };
        let _one = self.changing.lock();
        let filled = (|| {
            let wanted = self.wanted.load(SeqCst);
            let mut len = storage.len()?;
            while len < wanted {
                let piece = PIECE.min(wanted - len);
                storage.allocate(len, piece)?;
                len += piece;
            }
            Ok(())
        })();
        // Where the file system cannot do it at all, the store does without.
        let short = filled.is_err_and(|error| is_no_space(&error));
        self.short.store(short, SeqCst);
        !short
    }

    /// Give it all to whoever writes the catalogue; whether there was anything.
    pub fn release(&self) -> bool {
        let Some(storage) = &self.storage else { return false };
        let _one = self.changing.lock();
        if storage.len().is_ok_and(|len| len > 0) {
            self.short.store(true, SeqCst);
            return storage.set_len(0).is_ok();
        }
        false
    }

    /// Write to a file of the catalogue's, with what is kept where there is no space otherwise.
    pub fn write(&self, file: &dyn Storage, offset: u64, data: &[u8]) -> io::Result<()> {
        loop {
            match file.write_at(offset, data) {
                Err(error) if is_no_space(&error) && self.release() => {}
                other => return other,
            }
        }
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("short", &self.is_short()).finish_non_exhaustive()
    }
}
