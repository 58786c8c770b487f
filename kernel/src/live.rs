//! An open version: what its readers and writers share.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, Kind, Result};
use crate::ids::{BLOCK_SIZE, Index, VersionId};
use crate::page::{Page, span};
use crate::pages::Pages;
use crate::ranges::Ranges;
use crate::rows::{LEVELS, VersionRow, VersionState};
use crate::tree::{leaf_below, page_of};

/// One version that is open, however often.
///
/// Locks are taken in this order: `ranges`, `gate`, the meta lock, `view`.
pub struct Live {
    pub(crate) id: VersionId,
    /// Ranges of blocks that writers hold.
    pub(crate) ranges: Ranges,
    /// Shared by writers in place from their walk to the end of their write; exclusive for freezing and whatever
    /// else takes blocks from the head (rule 4).
    pub(crate) gate: RwLock<()>,
    /// Shared while looking up pages; exclusive, under the meta lock, while the tree is changed.
    pub(crate) view: RwLock<View>,
}

/// The version's row, and a short cut into its tree.
pub struct View {
    pub(crate) row: VersionRow,
    /// False once the version was dropped.
    pub(crate) alive: bool,
    /// Counts rollbacks and resizes: what was read before one must not be published after it.
    pub(crate) generation: u64,
    /// The lowest page that covers the whole disk, and whether the way to it is owned.
    top: Option<(Arc<Page>, bool)>,
}

impl Live {
    pub(crate) fn new(id: VersionId, row: VersionRow, pages: &Pages) -> Live {
        let mut view = View { row, alive: true, generation: 0, top: None };
        view.set_row(row, pages);
        Live { id, ranges: Ranges::default(), gate: RwLock::new(()), view: RwLock::new(view) }
    }
}

impl View {
    /// Take over a changed row or tree.
    pub(crate) fn set_row(&mut self, row: VersionRow, pages: &Pages) {
        self.row = row;
        // Without the short cut a page that cannot be read is met, and told of, by whoever needs it.
        self.top = find_top(&row, pages).unwrap_or(None);
    }

    /// The leaf of an index, if there is one, and whether the way to it is owned.
    pub(crate) fn leaf(&self, pages: &Pages, index: Index) -> Result<Option<(Arc<Page>, bool)>> {
        if let Some((page, owned)) = &self.top {
            return leaf_below(pages, page, *owned, index);
        }
        match page_of(pages, self.row.root, LEVELS)? {
            Some(page) => leaf_below(pages, &page, self.row.root.owned(), index),
            None => Ok(None),
        }
    }

    pub(crate) fn check_alive(&self, id: VersionId) -> Result<()> {
        if self.alive {
            return Ok(());
        }
        Err(Error::new(Kind::Stale, format!("{id} was removed while it was open")))
    }

    pub(crate) fn check_writable(&self, id: VersionId) -> Result<()> {
        self.check_alive(id)?;
        if self.row.state == VersionState::Head {
            return Ok(());
        }
        Err(Error::new(Kind::ReadOnly, format!("{id} is a snapshot: it cannot be written")))
    }

    /// Refuse a range that does not lie within the disk.
    pub(crate) fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        self.check_end(offset, len, self.row.size)
    }

    /// Refuse a range that does not lie within the disk's blocks, the last one counted whole.
    pub(crate) fn check_blocks(&self, offset: u64, len: u64) -> Result<()> {
        self.check_end(offset, len, self.row.size.next_multiple_of(BLOCK_SIZE))
    }

    fn check_end(&self, offset: u64, len: u64, size: u64) -> Result<()> {
        if offset.checked_add(len).is_some_and(|end| end <= size) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{len} bytes at {offset} do not lie within the disk of {} bytes",
            self.row.size
        )))
    }
}

/// The lowest page that covers all of a version's disk, if it maps anything.
fn find_top(row: &VersionRow, pages: &Pages) -> Result<Option<(Arc<Page>, bool)>> {
    let blocks = row.size.div_ceil(BLOCK_SIZE);
    let mut height = LEVELS;
    let mut pointer = row.root;
    let mut owned = true;
    while let Some(page) = page_of(pages, pointer, height)? {
        owned &= pointer.owned();
        if height == 1 || span(height - 1) < blocks {
            return Ok(Some((page, owned)));
        }
        pointer = page.get(0);
        height -= 1;
    }
    Ok(None)
}
