//! The pages of all trees: a bounded cache of clean ones, and all that a commit has yet to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::page::{Page, PageState};

/// What a page takes in memory, with its share of the tables that hold it.
const PAGE_BYTES: u64 = size_of::<Page>() as u64 + 128;

/// A page in the cache. Those that the catalogue does not have yet weigh nothing, and so are never evicted.
#[derive(Clone)]
struct Slot {
    page: Arc<Page>,
    clean: bool,
}

#[derive(Clone)]
struct Weight;

impl Weighter<PageId, Slot> for Weight {
    fn weight(&self, _: &PageId, slot: &Slot) -> u64 {
        if slot.clean { PAGE_BYTES } else { 0 }
    }
}

/// All pages, of all versions.
///
/// Everything but [`Pages::get`] is called under the kernel's meta lock.
pub struct Pages {
    catalog: Arc<Catalog>,
    cache: Cache<PageId, Slot, Weight>,
    /// Changed since the capture; `None` is deleted.
    changed: Mutex<BTreeMap<PageId, Option<Arc<Page>>>>,
}

impl Pages {
    /// Clean pages take `cache_bytes` at most.
    pub fn new(catalog: Arc<Catalog>, cache_bytes: u64) -> Pages {
        let items = (cache_bytes / PAGE_BYTES).max(16) as usize;
        Pages {
            catalog,
            cache: Cache::with_weighter(items, cache_bytes, Weight),
            changed: Mutex::new(BTreeMap::new()),
        }
    }

    /// A page that a live pointer names. May be called by a reader of a version that is kept from changing.
    pub fn get(&self, id: PageId) -> Result<Arc<Page>> {
        if let Some(slot) = self.cache.get(&id) {
            return Ok(slot.page);
        }
        let page =
            self.catalog.snapshot()?.page(id)?.ok_or_else(|| Error::damaged(format!("{id} is missing")))?;
        let page = Arc::new(page);
        self.cache.insert(id, Slot { page: page.clone(), clean: true });
        Ok(page)
    }

    /// A page that a pointer from one level up names.
    pub fn get_at(&self, id: PageId, level: u8) -> Result<Arc<Page>> {
        let page = self.get(id)?;
        page.expect_level(level)?;
        Ok(page)
    }

    /// Add a page that is new to the catalogue.
    pub fn add(&self, page: Page) -> Arc<Page> {
        self.keep(Arc::new(page))
    }

    /// The page, or a copy in its place, free to be changed. Whoever holds the page from before must look again.
    pub fn writable(&self, page: Arc<Page>) -> Arc<Page> {
        match page.state() {
            PageState::Fresh | PageState::Dirty => page,
            PageState::Clean | PageState::Captured => self.keep(Arc::new(page.dirty_copy())),
        }
    }

    /// Delete a page.
    pub fn delete(&self, page: &Page) {
        let mut changed = self.changed.lock();
        if page.state() == PageState::Fresh {
            changed.remove(&page.id);
        } else {
            changed.insert(page.id, None);
        }
        self.cache.remove(&page.id);
    }

    fn keep(&self, page: Arc<Page>) -> Arc<Page> {
        self.changed.lock().insert(page.id, Some(page.clone()));
        self.cache.insert(page.id, Slot { page: page.clone(), clean: false });
        page
    }

    /// Whether nothing waits for a capture.
    pub fn is_clean(&self) -> bool {
        self.changed.lock().is_empty()
    }

    /// Bytes of pages that wait for a capture.
    pub fn dirty_bytes(&self) -> u64 {
        self.changed.lock().len() as u64 * PAGE_BYTES
    }

    /// Bytes of clean pages.
    pub fn clean_bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Begin a commit: the changes that it is to write. The pages are not changed from here on.
    pub fn capture(&self) -> Vec<(PageId, Option<Arc<Page>>)> {
        let changed = std::mem::take(&mut *self.changed.lock());
        for page in changed.values().flatten() {
            page.set_state(PageState::Captured);
        }
        changed.into_iter().collect()
    }

    /// The commit came to nothing: its changes wait for the next one, under what was changed since.
    pub fn uncapture(&self, captured: Vec<(PageId, Option<Arc<Page>>)>) {
        let mut changed = self.changed.lock();
        for (id, page) in captured {
            changed.entry(id).or_insert_with(|| {
                if let Some(page) = &page {
                    // Not fresh: of a commit that came to nothing a crash may find everything.
                    page.set_state(PageState::Dirty);
                }
                page
            });
        }
    }

    /// The catalogue has what was captured.
    pub fn committed(&self, captured: Vec<(PageId, Option<Arc<Page>>)>) {
        let changed = self.changed.lock();
        for (id, page) in captured {
            if let (Some(page), false) = (page, changed.contains_key(&id)) {
                page.set_state(PageState::Clean);
                self.cache.insert(id, Slot { page, clean: true });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::core::Core;
    use crate::reserve::Reserve;
    use crate::rows::Pointer;
    use crate::storage::MemoryStorage;

    fn pages() -> Pages {
        let (blocks, catalog) = (MemoryStorage::new(), Arc::new(MemoryStorage::new()));
        Core::create(&blocks, catalog.clone(), [1; 16]).unwrap();
        Pages::new(Arc::new(Catalog::open(catalog, Arc::new(Reserve::none()), 1 << 20).unwrap()), 1 << 20)
    }

    fn add(pages: &Pages, id: u64, block: u64) -> Arc<Page> {
        let page = pages.add(Page::empty(PageId(id), 0));
        page.set(0, Pointer::new(block, true));
        page
    }

    /// The blocks that the pages of a capture map first; `None` for those that it deletes.
    fn captured(pages: &Pages) -> Vec<(u64, Option<u64>)> {
        let first = |page: Arc<Page>| page.get(0).number();
        pages.capture().into_iter().map(|(id, page)| (id.0, page.map(first))).collect()
    }

    #[test]
    fn uncaptured_pages_lie_under_newer_ones() {
        let pages = pages();
        let kept: Vec<Arc<Page>> = (1..=3).map(|id| add(&pages, id, 10 * id)).collect();
        let batch = pages.capture();
        // The commit's pages are not touched: a change goes to a copy.
        pages.writable(kept[1].clone()).set(0, Pointer::new(21, true));
        pages.delete(&kept[2]);
        add(&pages, 4, 40);
        assert_eq!(batch[1].1.as_ref().unwrap().get(0).number(), 20);
        pages.uncapture(batch);
        // From here on the first one is changed where it is.
        let page = pages.writable(pages.get(PageId(1)).unwrap());
        assert!(Arc::ptr_eq(&page, &kept[0]));
        page.set(0, Pointer::new(11, true));
        assert_eq!(captured(&pages), [(1, Some(11)), (2, Some(21)), (3, None), (4, Some(40))]);
    }

    /// Of the commit that came to nothing a crash may have found the page: it must be deleted by name.
    #[test]
    fn an_uncaptured_page_is_not_fresh() {
        let pages = pages();
        let page = add(&pages, 1, 10);
        let batch = pages.capture();
        pages.uncapture(batch);
        pages.delete(&page);
        assert_eq!(captured(&pages), [(1, None)]);
    }
}
