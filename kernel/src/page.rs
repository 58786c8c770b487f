//! A page of a version's tree, in memory.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::ids::{Index, PageId};
use crate::rows::{FANOUT, LEVELS, Pointer, decode_page, encode_page};

/// How a page in memory stands to the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PageState {
    /// As the catalogue has it.
    Clean = 0,
    /// Made since the last capture; the catalogue does not know it.
    Fresh = 1,
    /// Known to the catalogue and changed since the last capture.
    Dirty = 2,
    /// In the capture that is being committed: to be copied before it is changed.
    Captured = 3,
}

/// A page. Its pointers are changed only under the kernel's meta lock together with the lock of the one version
/// that can see it; readers of that version are out meanwhile. So relaxed atomics suffice.
#[derive(Debug)]
pub struct Page {
    /// The catalogue's key.
    pub id: PageId,
    /// 0 for a leaf.
    pub level: u8,
    state: AtomicU8,
    used: AtomicU16,
    pointers: [AtomicU64; FANOUT],
}

impl Page {
    /// A page that maps nothing.
    pub fn empty(id: PageId, level: u8) -> Page {
        Page {
            id,
            level,
            state: AtomicU8::new(PageState::Fresh as u8),
            used: AtomicU16::new(0),
            pointers: [const { AtomicU64::new(0) }; FANOUT],
        }
    }

    /// A page under another id with the same pointers, none of them owned.
    pub fn copy_as(&self, id: PageId) -> Page {
        let copy = Page::empty(id, self.level);
        for i in 0..FANOUT {
            copy.pointers[i].store(self.get(i).disowned().bits(), Relaxed);
        }
        copy.used.store(self.used.load(Relaxed), Relaxed);
        copy
    }

    /// The same page again, to be changed while the original is committed.
    pub fn dirty_copy(&self) -> Page {
        let copy = Page::empty(self.id, self.level);
        for i in 0..FANOUT {
            copy.pointers[i].store(self.pointers[i].load(Relaxed), Relaxed);
        }
        copy.used.store(self.used.load(Relaxed), Relaxed);
        copy.set_state(PageState::Dirty);
        copy
    }

    /// Read the catalogue's row.
    pub fn decode(id: PageId, row: &[u8]) -> Result<Page> {
        let mut page = Page::empty(id, 0);
        let mut used = 0;
        page.level = decode_page(id.0, row, |i, pointer| {
            page.pointers[i].store(pointer.bits(), Relaxed);
            used += 1;
        })?;
        page.used.store(used, Relaxed);
        page.set_state(PageState::Clean);
        Ok(page)
    }

    /// The row for the catalogue.
    pub fn encode(&self) -> Vec<u8> {
        encode_page(self.id.0, self.level, |i| self.get(i))
    }

    /// The pointer at `i`.
    pub fn get(&self, i: usize) -> Pointer {
        Pointer::from_bits(self.pointers[i].load(Relaxed))
    }

    /// Replace the pointer at `i`.
    pub fn set(&self, i: usize, pointer: Pointer) {
        let old = self.get(i);
        self.pointers[i].store(pointer.bits(), Relaxed);
        let used = self.used.load(Relaxed) + u16::from(!pointer.is_none()) - u16::from(!old.is_none());
        self.used.store(used, Relaxed);
    }

    /// Whether no pointer is left.
    pub fn is_empty(&self) -> bool {
        self.used.load(Relaxed) == 0
    }

    /// How it stands to the catalogue.
    pub fn state(&self) -> PageState {
        match self.state.load(Relaxed) {
            0 => PageState::Clean,
            1 => PageState::Fresh,
            2 => PageState::Dirty,
            _ => PageState::Captured,
        }
    }

    /// Set how it stands to the catalogue.
    pub fn set_state(&self, state: PageState) {
        self.state.store(state as u8, Relaxed);
    }

    /// A page met where one of `level` must be; anything else is damage.
    pub fn expect_level(&self, level: u8) -> Result<()> {
        if self.level == level {
            return Ok(());
        }
        Err(Error::damaged(format!(
            "{} is of level {} and stands where level {level} belongs",
            self.id, self.level
        )))
    }
}

/// The top page's level.
pub const ROOT_LEVEL: u8 = LEVELS - 1;

/// Which pointer of a page of `level` leads to a block.
pub fn digit(index: Index, level: u8) -> usize {
    (index.0 >> (8 * u32::from(level)) & 0xff) as usize
}

/// Blocks below one pointer of a page of `level`.
pub const fn span(level: u8) -> u64 {
    1 << (8 * level as u32)
}
