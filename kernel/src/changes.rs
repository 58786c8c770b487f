//! What a commit changes, as bytes: what the log keeps, and what is put into the tables, now or by recovery.
//!
//! docs/format.md has the bytes. Keys are as redb encodes them, values as the tables hold them.

use std::sync::Arc;

use redb::{Key, Table, TableDefinition, Value, WriteTransaction};

use crate::catalog::{CHILDREN, CHUNKS, KEYS, PAGES, SPARE, STATE, UNPUNCHED, VERSIONS, WORK};
use crate::error::{Error, Result};
use crate::ids::{ChunkNo, PageId, VersionId};
use crate::page::Page;
use crate::rows::{Bitmap, StateRow, VersionRow, encode_chunk, seal_key};

/// What a commit changes; `None` deletes. Each key at most once.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) pages: Vec<(PageId, Option<Arc<Page>>)>,
    pub(crate) versions: Vec<(VersionId, Option<VersionRow>)>,
    pub(crate) children: Vec<((VersionId, VersionId), Option<()>)>,
    pub(crate) work: Vec<((u8, VersionId), Option<()>)>,
    pub(crate) chunks: Vec<(ChunkNo, ChunkChange)>,
    pub(crate) unpunched: Vec<(ChunkNo, Option<()>)>,
    pub(crate) keys: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A chunk's rows after a commit.
#[derive(Debug)]
pub struct ChunkChange {
    /// The bitmap's row, if any block is in use.
    pub(crate) used: Option<Box<Bitmap>>,
    /// The count of free blocks, if the chunk is before the end and not full.
    pub(crate) spare: Option<u16>,
}

/// The tables by their numbers in a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum TableNo {
    State = 0,
    Versions = 1,
    Children = 2,
    Work = 3,
    Pages = 4,
    Chunks = 5,
    Spare = 6,
    Unpunched = 7,
    Keys = 8,
}

/// Added to the table's number when the row is deleted.
const DELETE: u8 = 128;
/// Bytes before a change's key.
const HEAD: usize = 7;

/// Changes of rows, one after the other: table (1), length of the key (2) and of the value (4), key, value.
#[derive(Debug, Default)]
pub struct Changes(Vec<u8>);

impl Changes {
    /// What the state row takes.
    pub const STATE_BYTES: usize = HEAD + 1 + StateRow::BYTES;

    /// The changes that a batch stands for, without the state row.
    pub fn of(batch: &Batch) -> Changes {
        let mut changes = Changes::default();
        for (id, page) in &batch.pages {
            let row = page.as_ref().map(|page| page.encode());
            changes.add(TableNo::Pages, &id.0.to_le_bytes(), row.as_deref());
        }
        for (id, version) in &batch.versions {
            let row = version.map(|version| version.encode(*id));
            changes.add(TableNo::Versions, &id.0.to_le_bytes(), row.as_deref());
        }
        for ((parent, child), edge) in &batch.children {
            let key = [parent.0.to_le_bytes(), child.0.to_le_bytes()].concat();
            changes.add(TableNo::Children, &key, edge.map(|()| &[][..]));
        }
        for ((kind, version), there) in &batch.work {
            let key = [&[*kind][..], &version.0.to_le_bytes()].concat();
            changes.add(TableNo::Work, &key, there.map(|()| &[][..]));
        }
        for (chunk, change) in &batch.chunks {
            let row = change.used.as_ref().map(|used| encode_chunk(chunk.0, used));
            changes.add(TableNo::Chunks, &chunk.0.to_le_bytes(), row.as_deref());
        }
        for (chunk, change) in &batch.chunks {
            let free = change.spare.map(u16::to_le_bytes);
            changes.add(TableNo::Spare, &chunk.0.to_le_bytes(), free.as_ref().map(|free| &free[..]));
        }
        for (chunk, there) in &batch.unpunched {
            changes.add(TableNo::Unpunched, &chunk.0.to_le_bytes(), there.map(|()| &[][..]));
        }
        for (key, value) in &batch.keys {
            let row = value.as_ref().map(|value| seal_key(key, value));
            changes.add(TableNo::Keys, key, row.as_deref());
        }
        changes
    }

    /// Put the state row behind.
    pub fn add_state(&mut self, state: &StateRow) {
        self.add(TableNo::State, &[0], Some(&state.encode()));
    }

    fn add(&mut self, table: TableNo, key: &[u8], value: Option<&[u8]>) {
        let out = &mut self.0;
        out.push(table as u8 + if value.is_some() { 0 } else { DELETE });
        // Keys and values are bounded below this where they come in (`transaction`).
        out.extend_from_slice(&(key.len() as u16).to_le_bytes());
        out.extend_from_slice(&(value.map_or(0, <[u8]>::len) as u32).to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value.unwrap_or_default());
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One row of one table.
#[derive(Debug)]
pub struct Change<'a> {
    table: TableNo,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

/// Read changes back; anything that [`Changes`] does not write is damage.
pub fn parse(mut bytes: &[u8]) -> Result<Vec<Change<'_>>> {
    let bad = |why: &str| Error::damaged(format!("a record of the catalogue's log: {why}"));
    let mut changes = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let [number, k0, k1, v0, v1, v2, v3] = *head;
        let (table, key_len) = match number & !DELETE {
            0 => (TableNo::State, Some(1)),
            1 => (TableNo::Versions, Some(8)),
            2 => (TableNo::Children, Some(16)),
            3 => (TableNo::Work, Some(9)),
            4 => (TableNo::Pages, Some(8)),
            5 => (TableNo::Chunks, Some(8)),
            6 => (TableNo::Spare, Some(8)),
            7 => (TableNo::Unpunched, Some(8)),
            8 => (TableNo::Keys, None),
            _ => return Err(bad("there is no such table")),
        };
        let key = usize::from(u16::from_le_bytes([k0, k1]));
        let value = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let deleted = number & DELETE != 0;
        let fits = match table {
            _ if deleted => value == 0 && table != TableNo::State,
            TableNo::Children | TableNo::Work | TableNo::Unpunched => value == 0,
            TableNo::Spare => value == 2,
            _ => true,
        };
        if key_len.is_some_and(|len| len != key) || !fits {
            return Err(bad("a key or a value has a wrong length"));
        }
        let (Some(key), Some(value)) = (rest.get(..key), rest.get(key..key + value)) else {
            return Err(bad("it is cut off"));
        };
        bytes = &rest[key.len() + value.len()..];
        changes.push(Change { table, key, value: (!deleted).then_some(value) });
    }
    if bytes.is_empty() { Ok(changes) } else { Err(bad("it is cut off")) }
}

/// Put changes into the tables; by how many bytes keys and values grew, the state row's aside.
pub fn apply(txn: &WriteTransaction, changes: &[Change]) -> std::result::Result<i64, redb::Error> {
    let mut grown = 0;
    for changes in changes.chunk_by(|a, b| a.table == b.table) {
        grown += match changes[0].table {
            TableNo::State => put(txn, STATE, changes).map(|_| 0),
            TableNo::Versions => put(txn, VERSIONS, changes),
            TableNo::Children => put(txn, CHILDREN, changes),
            TableNo::Work => put(txn, WORK, changes),
            TableNo::Pages => put(txn, PAGES, changes),
            TableNo::Chunks => put(txn, CHUNKS, changes),
            TableNo::Spare => put(txn, SPARE, changes),
            TableNo::Unpunched => put(txn, UNPUNCHED, changes),
            TableNo::Keys => put(txn, KEYS, changes),
        }?;
    }
    Ok(grown)
}

fn put<K: Key + 'static, V: Value + 'static>(
    txn: &WriteTransaction,
    definition: TableDefinition<K, V>,
    changes: &[Change],
) -> std::result::Result<i64, redb::Error> {
    let mut table: Table<K, V> = txn.open_table(definition)?;
    let mut grown = 0;
    for change in changes {
        let key = K::from_bytes(change.key);
        let old = match change.value {
            Some(value) => table.insert(key, V::from_bytes(value))?,
            None => table.remove(key)?,
        };
        let bytes = |value: usize| (change.key.len() + value) as i64;
        grown += change.value.map_or(0, |value| bytes(value.len()));
        grown -= old.map_or(0, |old| bytes(V::as_bytes(&old.value()).as_ref().len()));
    }
    Ok(grown)
}
