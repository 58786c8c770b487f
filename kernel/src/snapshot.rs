//! Reading the catalogue, as of a commit.

use std::borrow::Borrow;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata};

use crate::catalog::{
    CHILDREN, CHUNKS, KEYS, KeyValue, PAGES, SPARE, STATE, UNPUNCHED, VERSIONS, WORK, shield,
};
use crate::error::{Error, Result};
use crate::ids::{ChunkNo, PageId, VersionId};
use crate::page::Page;
use crate::rows::{Bitmap, CHUNK_WORDS, StateRow, VersionRow, decode_chunk, unseal_key};

/// The tables as the last commit left them.
pub struct Snapshot {
    /// Lets the catalogue know that someone reads.
    _reader: Arc<()>,
    pub(crate) state: ReadOnlyTable<u8, &'static [u8]>,
    pub(crate) pages: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) versions: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) children: ReadOnlyTable<(u64, u64), ()>,
    pub(crate) work: ReadOnlyTable<(u8, u64), ()>,
    pub(crate) chunks: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) spare: ReadOnlyTable<u64, u16>,
    pub(crate) unpunched: ReadOnlyTable<u64, ()>,
    pub(crate) keys: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl Snapshot {
    pub(crate) fn take(database: &Database, readers: &Arc<()>) -> std::result::Result<Snapshot, redb::Error> {
        let txn = database.begin_read()?;
        Ok(Snapshot {
            _reader: readers.clone(),
            state: txn.open_table(STATE)?,
            pages: txn.open_table(PAGES)?,
            versions: txn.open_table(VERSIONS)?,
            children: txn.open_table(CHILDREN)?,
            work: txn.open_table(WORK)?,
            chunks: txn.open_table(CHUNKS)?,
            spare: txn.open_table(SPARE)?,
            unpunched: txn.open_table(UNPUNCHED)?,
            keys: txn.open_table(KEYS)?,
        })
    }

    /// The state row.
    pub fn state(&self) -> Result<StateRow> {
        row(&self.state, 0, StateRow::decode)?.ok_or_else(|| Error::damaged("the catalogue has no state row"))
    }

    /// A page.
    pub fn page(&self, id: PageId) -> Result<Option<Page>> {
        row(&self.pages, id.0, |row| Page::decode(id, row))
    }

    /// A version.
    pub fn version(&self, id: VersionId) -> Result<Option<VersionRow>> {
        row(&self.versions, id.0, |row| VersionRow::decode(id, row))
    }

    /// At most `limit` versions with ids behind `after`.
    pub fn versions_after(&self, after: VersionId, limit: usize) -> Result<Vec<(VersionId, VersionRow)>> {
        let bounds = (Excluded(after.0), Unbounded);
        let rows = list(bounds, limit, || self.versions.range(bounds), |id, row| Some((id, row.to_vec())))?;
        let decode =
            |(id, row): (u64, Vec<u8>)| Ok((VersionId(id), VersionRow::decode(VersionId(id), &row)?));
        rows.into_iter().map(decode).collect()
    }

    /// At most `limit` children of a version with ids behind `after`.
    pub fn children_after(&self, of: VersionId, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        let bounds = (Excluded((of.0, after.0)), Included((of.0, u64::MAX)));
        let edges = list(bounds, limit, || self.children.range(bounds), |edge, ()| Some((edge, ())))?;
        Ok(edges.into_iter().map(|((_, child), ())| VersionId(child)).collect())
    }

    /// At most `limit` versions with a kind of work, behind `after`.
    pub fn work_after(&self, kind: u8, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        let bounds = (Excluded((kind, after.0)), Included((kind, u64::MAX)));
        let work = list(bounds, limit, || self.work.range(bounds), |work, ()| Some((work, ())))?;
        Ok(work.into_iter().map(|((_, version), ())| VersionId(version)).collect())
    }

    /// A chunk's blocks in use.
    pub fn chunk(&self, chunk: ChunkNo) -> Result<Bitmap> {
        let used = row(&self.chunks, chunk.0, |row| decode_chunk(chunk.0, row))?;
        Ok(used.unwrap_or([0; CHUNK_WORDS]))
    }

    /// At most `limit` chunks from `from` on that are not full, with their free blocks.
    pub fn spare_from(&self, from: ChunkNo, limit: usize) -> Result<Vec<(ChunkNo, u16)>> {
        let bounds = (Included(from.0), Unbounded);
        let rows = list(bounds, limit, || self.spare.range(bounds), |chunk, free| Some((chunk, free)))?;
        Ok(rows.into_iter().map(|(chunk, free)| (ChunkNo(chunk), free)).collect())
    }

    /// At most `limit` chunks from `from` on with freed space to return.
    pub fn unpunched_from(&self, from: ChunkNo, limit: usize) -> Result<Vec<ChunkNo>> {
        let bounds = (Included(from.0), Unbounded);
        let rows = list(bounds, limit, || self.unpunched.range(bounds), |chunk, ()| Some((chunk, ())))?;
        Ok(rows.into_iter().map(|(chunk, ())| ChunkNo(chunk)).collect())
    }

    /// A key of the package.
    pub fn key(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        row(&self.keys, key, |row| Ok(unseal_key(key, row)?.to_vec()))
    }

    /// At most `limit` keys that start with `prefix`, from `from` on.
    pub fn keys_from(&self, prefix: &[u8], from: Bound<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        let bounds = (from.map(<[u8]>::to_vec), Unbounded);
        let range = || self.keys.range::<&[u8]>((from, Unbounded));
        let rows = list(bounds, limit, range, |key, row| {
            key.starts_with(prefix).then(|| (key.to_vec(), row.to_vec()))
        })?;
        let unseal =
            |(key, row): KeyValue| unseal_key(&key, &row).map(<[u8]>::to_vec).map(|value| (key, value));
        rows.into_iter().map(unseal).collect()
    }

    /// Rows in a table, by name, for the space account.
    pub fn count(&self, table: Counted) -> Result<u64> {
        shield("reading", || {
            Ok(match table {
                Counted::Pages => self.pages.len()?,
                Counted::Versions => self.versions.len()?,
                Counted::Keys => self.keys.len()?,
                Counted::Unpunched => self.unpunched.len()?,
            })
        })
    }
}

/// A row of a table, read. Within the shield, because redb meets a damaged page as late as here.
fn row<'k, K: redb::Key + 'static, T>(
    table: &ReadOnlyTable<K, &'static [u8]>,
    key: impl Borrow<K::SelfType<'k>>,
    read: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<Option<T>> {
    shield("reading", || Ok(table.get(key)?.map(|row| read(row.value()))))?.transpose()
}

/// At most `limit` rows of a range, up to one for which `read` gives nothing. Their keys must lie within the range
/// and ascend: a damaged page may hold any, and whoever lists a table piece by piece must come to its end.
fn list<'t, K: redb::Key + 'static, V: redb::Value + 'static, A: Ord, B>(
    bounds: (Bound<A>, Bound<A>),
    limit: usize,
    range: impl FnOnce() -> std::result::Result<redb::Range<'t, K, V>, redb::StorageError>,
    read: impl Fn(K::SelfType<'_>, V::SelfType<'_>) -> Option<(A, B)>,
) -> Result<Vec<(A, B)>> {
    let rows = shield("reading", || {
        let mut rows = Vec::new();
        for row in range()?.take(limit) {
            let (key, value) = row?;
            let Some(row) = read(key.value(), value.value()) else { break };
            rows.push(row);
        }
        Ok(rows)
    })?;
    if rows.iter().all(|(key, _)| bounds.contains(key)) && rows.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Ok(rows);
    }
    Err(Error::damaged("reading the catalogue: its rows are out of order"))
}

/// What [`Snapshot::count`] counts.
#[derive(Clone, Copy, Debug)]
pub enum Counted {
    /// Tree pages.
    Pages,
    /// Versions.
    Versions,
    /// The package's keys.
    Keys,
    /// Chunks with freed space.
    Unpunched,
}
