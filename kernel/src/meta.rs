//! The versions, and all else that is changed under one lock, the *meta lock*, and captured together.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::catalog::{Catalog, KeyValue};
use crate::error::{Error, Kind, Result};
use crate::ids::VersionId;
use crate::overlay::Overlay;
use crate::rows::{Pointer, VersionRow, VersionState};
use crate::space::Space;

/// Version rows kept in memory beyond those that wait for a commit.
const ROWS_IN_MEMORY: usize = 16384;

/// Work that outlives a crash: the first part of a key of the table `work`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Work {
    /// Versions being taken apart.
    Dying = 1,
    /// Hidden versions, to be trimmed now and then.
    Hidden = 2,
}

/// Everything that the meta lock guards. The trees' pages are changed under it, too.
pub struct Meta {
    catalog: Arc<Catalog>,
    pub(crate) space: Space,
    versions: Overlay<VersionId, VersionRow>,
    /// Rows as last seen or set, those of `versions` included.
    rows: HashMap<VersionId, VersionRow>,
    children: Overlay<(VersionId, VersionId), ()>,
    work: Overlay<(u8, VersionId), ()>,
    pub(crate) keys: Overlay<Vec<u8>, Vec<u8>>,
    /// Hidden versions some of whose blocks may have become theirs alone, with how many at most.
    pub(crate) stale: HashMap<VersionId, u64>,
    /// Dying versions that cannot be taken apart, being damaged.
    pub(crate) stuck: BTreeSet<VersionId>,
}

/// What [`Meta::capture`] gives to a commit.
pub(crate) type MetaRows = (
    Vec<(VersionId, Option<VersionRow>)>,
    Vec<((VersionId, VersionId), Option<()>)>,
    Vec<((u8, VersionId), Option<()>)>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

impl Meta {
    pub(crate) fn new(catalog: Arc<Catalog>, space: Space) -> Meta {
        Meta {
            catalog,
            space,
            versions: Overlay::new(),
            rows: HashMap::new(),
            children: Overlay::new(),
            work: Overlay::new(),
            keys: Overlay::new(),
            stale: HashMap::new(),
            stuck: BTreeSet::new(),
        }
    }

    /// A version's row, dropped or not.
    pub(crate) fn find(&mut self, id: VersionId) -> Result<Option<VersionRow>> {
        if let Some(row) = self.rows.get(&id) {
            return Ok(Some(*row));
        }
        if let Some(known) = self.versions.get(&id) {
            return Ok(known.copied());
        }
        let row = self.catalog.snapshot()?.version(id)?;
        if let Some(row) = row {
            self.rows.insert(id, row);
        }
        Ok(row)
    }

    /// A version that another row names.
    pub(crate) fn version(&mut self, id: VersionId) -> Result<VersionRow> {
        self.find(id)?.ok_or_else(|| Error::damaged(format!("{id} is missing, and others refer to it")))
    }

    /// A version that a caller names.
    pub(crate) fn visible(&mut self, id: VersionId) -> Result<VersionRow> {
        match self.find(id)? {
            Some(row) if row.state.visible() => Ok(row),
            _ => Err(Error::new(Kind::Missing, format!("there is no {id}"))),
        }
    }

    pub(crate) fn put(&mut self, id: VersionId, row: VersionRow) {
        self.versions.set(id, Some(row));
        self.rows.insert(id, row);
    }

    pub(crate) fn remove(&mut self, id: VersionId) {
        self.versions.set(id, None);
        self.rows.remove(&id);
        self.stale.remove(&id);
    }

    /// The root of the version that this one was derived from.
    pub(crate) fn parent_root(&mut self, row: &VersionRow) -> Result<Pointer> {
        match row.parent {
            Some(parent) => Ok(self.version(parent)?.root),
            None => Ok(Pointer::NONE),
        }
    }

    /// Add or remove the edge from a parent to a child, without its count.
    pub(crate) fn edge(&mut self, parent: VersionId, child: VersionId, there: bool) {
        self.children.set((parent, child), there.then_some(()));
    }

    /// At most `limit` children with ids behind `after`, ascending.
    pub(crate) fn children(&self, of: VersionId, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        let snapshot = self.catalog.snapshot()?;
        let rows = self.children.merge(
            Bound::Excluded((of, after)),
            limit,
            |(parent, _)| *parent == of,
            |from, limit| {
                let after = match from {
                    Bound::Excluded((_, child)) => *child,
                    _ => after,
                };
                let rows = snapshot.children_after(of, after, limit)?;
                Ok::<_, Error>(rows.into_iter().map(|child| ((of, child), ())).collect())
            },
        )?;
        Ok(rows.into_iter().map(|((_, child), ())| child).collect())
    }

    /// The one child of a version that has one.
    pub(crate) fn only_child(&self, id: VersionId, row: &VersionRow) -> Result<Option<VersionId>> {
        let children = self.children(id, VersionId(0), 2)?;
        if children.len() as u64 != row.children.min(2) || row.children > 1 {
            return Err(Error::damaged(format!(
                "{id} counts {} children, and {} are recorded",
                row.children,
                children.len()
            )));
        }
        Ok(children.first().copied())
    }

    /// At most `limit` versions behind `after`, with their rows.
    pub(crate) fn versions(&self, after: VersionId, limit: usize) -> Result<Vec<(VersionId, VersionRow)>> {
        let snapshot = self.catalog.snapshot()?;
        self.versions.merge(
            Bound::Excluded(after),
            limit,
            |_| true,
            |from, limit| {
                let after = match from {
                    Bound::Excluded(id) => *id,
                    _ => after,
                };
                snapshot.versions_after(after, limit)
            },
        )
    }

    /// Add or remove work.
    pub(crate) fn set_work(&mut self, kind: Work, version: VersionId, there: bool) {
        self.work.set((kind as u8, version), there.then_some(()));
    }

    /// At most `limit` versions with work of a kind, with ids behind `after`.
    pub(crate) fn work(&self, kind: Work, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        let snapshot = self.catalog.snapshot()?;
        let kind = kind as u8;
        let rows = self.work.merge(
            Bound::Excluded((kind, after)),
            limit,
            |(k, _)| *k == kind,
            |from, limit| {
                let after = match from {
                    Bound::Excluded((_, version)) => *version,
                    _ => after,
                };
                let rows = snapshot.work_after(kind, after, limit)?;
                Ok::<_, Error>(rows.into_iter().map(|version| ((kind, version), ())).collect())
            },
        )?;
        Ok(rows.into_iter().map(|((_, version), ())| version).collect())
    }

    /// A key of the package.
    pub(crate) fn key(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.keys.get(&key.to_vec()) {
            Some(known) => Ok(known.cloned()),
            None => self.catalog.snapshot()?.key(key),
        }
    }

    /// At most `limit` keys that start with `prefix`, behind `after`.
    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        let snapshot = self.catalog.snapshot()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        self.keys.merge(
            from,
            limit,
            |key| key.starts_with(prefix),
            |from, limit| snapshot.keys_from(prefix, from.map(Vec::as_slice), limit),
        )
    }

    /// A head's tree was changed; it gave up `let_go` pointers that its parent has too.
    pub(crate) fn changed_head(&mut self, id: VersionId, row: &VersionRow, let_go: u64) -> Result<()> {
        self.put(id, *row);
        if let (Some(parent), true) = (row.parent, let_go > 0)
            && self.version(parent)?.state == VersionState::Hidden
        {
            *self.stale.entry(parent).or_default() += let_go;
        }
        Ok(())
    }

    /// A version lost a child or its place: if it is hidden and has one child at most, it can go now.
    pub(crate) fn recheck_hidden(&mut self, id: VersionId) -> Result<()> {
        let mut row = self.version(id)?;
        if row.state == VersionState::Hidden {
            if row.children <= 1 {
                row.state = VersionState::Dying;
                self.put(id, row);
                self.set_work(Work::Hidden, id, false);
                self.set_work(Work::Dying, id, true);
                self.stale.remove(&id);
            } else {
                *self.stale.entry(id).or_default() += 1;
            }
        }
        Ok(())
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.versions.is_clean()
            && self.children.is_clean()
            && self.work.is_clean()
            && self.keys.is_clean()
            && self.space.is_clean()
    }

    pub(crate) fn capture(&mut self) -> MetaRows {
        (self.versions.capture(), self.children.capture(), self.work.capture(), self.keys.capture())
    }

    /// The commit came to nothing: what it was to write waits for the next one.
    pub(crate) fn uncapture(&mut self) {
        self.versions.uncapture();
        self.children.uncapture();
        self.work.uncapture();
        self.keys.uncapture();
        self.space.uncapture();
    }

    pub(crate) fn committed(&mut self) {
        self.versions.committed();
        self.children.committed();
        self.work.committed();
        self.keys.committed();
        if self.rows.len() > ROWS_IN_MEMORY {
            self.rows.clear();
        }
    }
}
