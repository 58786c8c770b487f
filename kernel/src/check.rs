//! The verifier. It reads the last committed state and shares with the kernel only what the rows look like.
//!
//! What it relies on: if versions share a pointer at one place of their trees, they form one connected piece of the
//! version tree. So of all versions that have a pointer at a place, exactly one has a parent that does not, and
//! walking every version against its parent must come upon each page and each block exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use redb::{ReadableTable, ReadableTableMetadata};

use crate::catalog::{Catalog, shield};
use crate::error::{Error, Result};
use crate::ids::{BLOCK, BLOCK_SIZE, ChunkNo, MAX_DISK_SIZE, PageId, VersionId};
use crate::meta::Work;
use crate::page::{Page, span};
use crate::rows::{
    Bitmap, CHUNK_BLOCKS, CHUNK_WORDS, FANOUT, LEVELS, Pointer, StateRow, VersionRow, VersionState, bit_runs,
    decode_chunk, decode_header, unseal_key,
};
use crate::snapshot::Snapshot;
use crate::storage::Storage;

/// Findings told in full; the rest are counted.
const FINDINGS: usize = 1000;

/// Verify a store's last committed state; all that is wrong, a sentence each.
pub fn check(blocks: &dyn Storage, catalog: &Catalog) -> Result<Vec<String>> {
    let mut findings = Findings::default();
    {
        let snapshot = catalog.snapshot()?;
        let mut check = Check {
            snapshot: &snapshot,
            findings: &mut findings,
            versions: BTreeMap::new(),
            pages: HashSet::new(),
            blocks: BTreeMap::new(),
            mapped: HashMap::new(),
        };
        if let Err(error) = check.run(blocks) {
            findings.add(error.to_string());
        }
    }
    if let Some(found) = catalog.verify_checksums()? {
        findings.add(found);
    }
    Ok(findings.told())
}

#[derive(Default)]
struct Findings {
    told: Vec<String>,
    more: u64,
}

impl Findings {
    fn add(&mut self, finding: impl Into<String>) {
        if self.told.len() < FINDINGS {
            self.told.push(finding.into());
        } else {
            self.more += 1;
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more", self.more));
        }
        self.told
    }
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    findings: &'a mut Findings,
    versions: BTreeMap<VersionId, VersionRow>,
    /// Pages that the walks came upon.
    pages: HashSet<PageId>,
    /// Blocks that the walks came upon.
    blocks: BTreeMap<ChunkNo, Box<Bitmap>>,
    /// Blocks that each version maps, as counted.
    mapped: HashMap<VersionId, i64>,
}

impl Check<'_> {
    fn run(&mut self, blocks: &dyn Storage) -> Result<()> {
        let state = self.snapshot.state()?;
        self.header(blocks, &state);
        self.versions(&state)?;
        self.edges()?;
        self.work()?;
        self.trees()?;
        let pages = self.leaked_pages(&state)?;
        let chunks = self.chunks(&state, blocks)?;
        self.metadata_bytes(&state, pages + chunks)
    }

    fn header(&mut self, blocks: &dyn Storage, state: &StateRow) {
        let mut header = vec![0; BLOCK];
        let id = blocks
            .read_at(0, &mut header)
            .map_err(|e| Error::io("reading the blocks file's header", &e))
            .and_then(|()| decode_header(&header));
        match id {
            Ok(id) if id == state.store_id => {}
            Ok(_) => self.findings.add("the blocks file and the catalogue belong to different stores"),
            Err(error) => self.findings.add(error.to_string()),
        }
    }

    fn versions(&mut self, state: &StateRow) -> Result<()> {
        shield("reading", || {
            for row in self.snapshot.versions.iter()? {
                let (id, row) = row?;
                let id = VersionId(id.value());
                match VersionRow::decode(id, row.value()) {
                    Ok(row) => {
                        self.versions.insert(id, row);
                    }
                    Err(error) => self.findings.add(error.to_string()),
                }
                if id.0 == 0 || id.0 >= state.next_version {
                    self.findings.add(format!("{id} has an id that was never given out"));
                }
            }
            Ok(())
        })?;
        for (id, row) in &self.versions {
            if row.size > MAX_DISK_SIZE {
                self.findings.add(format!("{id} is larger than a disk may be: {} bytes", row.size));
            }
            match row.state {
                VersionState::Head if row.children != 0 => {
                    self.findings.add(format!("{id} is a head and has {} children", row.children));
                }
                VersionState::Hidden if row.children < 2 => {
                    self.findings.add(format!("{id} is hidden and has {} children", row.children));
                }
                VersionState::Dying if row.children > 1 => {
                    self.findings.add(format!("{id} is dying and has {} children", row.children));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The edges, against the versions' parents and counts.
    fn edges(&mut self) -> Result<()> {
        let mut counts: HashMap<VersionId, u64> = HashMap::new();
        let mut edges = HashSet::new();
        shield("reading", || {
            for row in self.snapshot.children.iter()? {
                let (parent, child) = row?.0.value();
                edges.insert((VersionId(parent), VersionId(child)));
            }
            Ok(())
        })?;
        for (parent, child) in &edges {
            *counts.entry(*parent).or_default() += 1;
            if self.versions.get(child).and_then(|row| row.parent) != Some(*parent) {
                self.findings
                    .add(format!("{child} is recorded as a child of {parent}, and does not derive from it"));
            }
        }
        for (id, row) in &self.versions {
            let count = counts.remove(id).unwrap_or(0);
            if count != row.children {
                self.findings.add(format!("{id} counts {} children, and {count} are recorded", row.children));
            }
            if let Some(parent) = row.parent {
                if !self.versions.contains_key(&parent) {
                    self.findings.add(format!("{id} derives from {parent}, which is missing"));
                } else if !edges.contains(&(parent, *id)) {
                    self.findings.add(format!("{id} derives from {parent}, which does not record it"));
                }
            }
        }
        for parent in counts.keys() {
            self.findings.add(format!("children are recorded for {parent}, which is missing"));
        }
        Ok(())
    }

    /// Every dying and every hidden version waits in the table of work, and no other.
    fn work(&mut self) -> Result<()> {
        let mut found = HashSet::new();
        shield("reading", || {
            for row in self.snapshot.work.iter()? {
                let (kind, version) = row?.0.value();
                found.insert((kind, VersionId(version)));
            }
            Ok(())
        })?;
        for (id, row) in &self.versions {
            let kind = match row.state {
                VersionState::Dying => Work::Dying,
                VersionState::Hidden => Work::Hidden,
                _ => continue,
            };
            if !found.remove(&(kind as u8, *id)) {
                self.findings.add(format!("{id} waits to be taken apart, and is not listed"));
            }
        }
        for (_, id) in found {
            self.findings.add(format!("{id} is listed to be taken apart, and is not dropped"));
        }
        Ok(())
    }

    /// Walk every version against its parent, parents first.
    fn trees(&mut self) -> Result<()> {
        let mut below: HashMap<Option<VersionId>, Vec<VersionId>> = HashMap::new();
        for (id, row) in &self.versions {
            let parent = row.parent.filter(|parent| self.versions.contains_key(parent));
            below.entry(parent).or_default().push(*id);
        }
        let mut todo = below.remove(&None).unwrap_or_default();
        while let Some(id) = todo.pop() {
            let row = self.versions[&id];
            let parent = row.parent.filter(|parent| self.versions.contains_key(parent));
            let root = parent.map_or(Pointer::NONE, |parent| self.versions[&parent].root);
            let more = self.walk(id, row.root, root, LEVELS)?;
            let mapped = parent.map_or(0, |parent| self.mapped[&parent]) + more;
            self.mapped.insert(id, mapped);
            if row.state.visible() {
                if mapped != row.mapped as i64 {
                    self.findings.add(format!("{id} counts {} blocks, and maps {mapped}", row.mapped));
                }
                let end = row.size.div_ceil(BLOCK_SIZE);
                if self.maps_beyond(row.root, LEVELS, 0, end)? {
                    self.findings.add(format!("{id} maps blocks beyond its end"));
                }
            }
            todo.extend(below.remove(&Some(id)).unwrap_or_default());
        }
        for id in below.into_values().flatten() {
            self.findings.add(format!("{id} derives from itself by way of others"));
        }
        Ok(())
    }

    fn page(&mut self, pointer: Pointer, height: u8) -> Result<Option<Page>> {
        if pointer.is_none() {
            return Ok(None);
        }
        let id = PageId(pointer.number());
        let page = match self.snapshot.page(id) {
            Ok(Some(page)) => page.expect_level(height - 1).map(|()| page),
            Ok(None) => Err(Error::damaged(format!("{id} is missing, and a tree needs it"))),
            Err(error) => Err(error),
        };
        match page {
            Ok(page) => Ok(Some(page)),
            Err(error) => {
                self.findings.add(error.to_string());
                Ok(None)
            }
        }
    }

    /// Come upon what a version has and its parent has not; by how many blocks it maps more than the parent.
    fn walk(&mut self, id: VersionId, pointer: Pointer, parent: Pointer, height: u8) -> Result<i64> {
        if pointer.same(parent) {
            return Ok(0);
        }
        if height == 0 {
            if !pointer.is_none() {
                self.come_upon_block(id, pointer.number());
            }
            return Ok(i64::from(!pointer.is_none()) - i64::from(!parent.is_none()));
        }
        if !pointer.is_none() && !self.pages.insert(PageId(pointer.number())) {
            self.findings.add(format!("page {} is used twice; the second time in {id}", pointer.number()));
            return Ok(0);
        }
        let page = self.page(pointer, height)?;
        let parent = self.page(parent, height)?;
        let get = |page: &Option<Page>, i| page.as_ref().map_or(Pointer::NONE, |page| page.get(i));
        let mut more = 0;
        for i in 0..FANOUT {
            more += self.walk(id, get(&page, i), get(&parent, i), height - 1)?;
        }
        Ok(more)
    }

    fn come_upon_block(&mut self, id: VersionId, block: u64) {
        let (chunk, bit) = (ChunkNo(block / CHUNK_BLOCKS), block % CHUNK_BLOCKS);
        let bits = self.blocks.entry(chunk).or_insert_with(|| Box::new([0; CHUNK_WORDS]));
        let word = &mut bits[(bit / 64) as usize];
        if *word & 1 << (bit % 64) != 0 {
            self.findings.add(format!("block {block} is used twice; the second time in {id}"));
        }
        *word |= 1 << (bit % 64);
    }

    fn maps_beyond(&mut self, pointer: Pointer, height: u8, base: u64, end: u64) -> Result<bool> {
        if pointer.is_none() || base + span(height) <= end {
            return Ok(false);
        }
        if base >= end {
            return Ok(true);
        }
        let Some(page) = self.page(pointer, height)? else {
            return Ok(false);
        };
        // Only the way along the end has to be looked at: what is behind it is all beyond.
        for i in 0..FANOUT {
            let base = base + i as u64 * span(height - 1);
            if self.maps_beyond(page.get(i), height - 1, base, end)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every page must have been come upon. Returns the bytes of all tables but those of the chunks.
    fn leaked_pages(&mut self, state: &StateRow) -> Result<u64> {
        let mut bytes = 0;
        shield("reading", || {
            for row in self.snapshot.pages.iter()? {
                let (id, row) = row?;
                let id = PageId(id.value());
                bytes += 8 + row.value().len() as u64;
                if id.0 >= state.next_page {
                    self.findings.add(format!("{id} has an id that was never given out"));
                }
                if !self.pages.contains(&id) {
                    self.findings.add(format!("{id} is used by no version"));
                }
            }
            for row in self.snapshot.versions.iter()? {
                bytes += 8 + row?.1.value().len() as u64;
            }
            for row in self.snapshot.keys.iter()? {
                let (key, value) = row?;
                bytes += (key.value().len() + value.value().len()) as u64;
                if let Err(error) = unseal_key(key.value(), value.value()) {
                    let key = String::from_utf8_lossy(key.value()).into_owned();
                    self.findings.add(format!("{error}: {key:?}"));
                }
            }
            bytes += 16 * self.snapshot.children.len()? + 9 * self.snapshot.work.len()?;
            bytes += 8 * self.snapshot.unpunched.len()?;
            Ok(())
        })?;
        Ok(bytes)
    }

    /// The bitmaps, against the blocks that were come upon. Returns the bytes of their tables.
    fn chunks(&mut self, state: &StateRow, blocks: &dyn Storage) -> Result<u64> {
        let mut bytes = 0;
        let mut spare = HashMap::new();
        let mut recorded: BTreeMap<ChunkNo, Box<Bitmap>> = BTreeMap::new();
        shield("reading", || {
            for row in self.snapshot.spare.iter()? {
                let (chunk, free) = row?;
                bytes += 10;
                spare.insert(ChunkNo(chunk.value()), u64::from(free.value()));
            }
            for row in self.snapshot.chunks.iter()? {
                let (chunk, row) = row?;
                bytes += 8 + row.value().len() as u64;
                match decode_chunk(chunk.value(), row.value()) {
                    Ok(used) => {
                        recorded.insert(ChunkNo(chunk.value()), Box::new(used));
                    }
                    Err(error) => self.findings.add(error.to_string()),
                }
            }
            Ok(())
        })?;
        let mut used_blocks = 0;
        let mut last = 0;
        // A chunk before the end has a row in one of the tables at least.
        let known: BTreeSet<ChunkNo> =
            recorded.keys().chain(self.blocks.keys()).chain(spare.keys()).copied().collect();
        let before_end = known.range(..ChunkNo(state.end_chunk)).count() as u64;
        if before_end != state.end_chunk {
            self.findings.add(format!(
                "there are {} chunks before the end, and {before_end} are recorded",
                state.end_chunk
            ));
        }
        for chunk in known {
            let none: Bitmap = [0; CHUNK_WORDS];
            let used = recorded.get(&chunk).map_or(&none, |bits| bits);
            let found = self.blocks.get(&chunk).map_or(&none, |bits| bits);
            let difference = |a: &Bitmap, b: &Bitmap| -> Bitmap { std::array::from_fn(|i| a[i] & !b[i]) };
            let count: u64 = used.iter().map(|word| u64::from(word.count_ones())).sum();
            used_blocks += count;
            if chunk.0 >= state.end_chunk {
                self.findings.add(format!("chunk {} lies behind the end", chunk.0));
                continue;
            }
            let first = chunk.0 * CHUNK_BLOCKS;
            for (bit, len) in bit_runs(&difference(used, found), true, 0) {
                let (a, b) = (first + bit, first + bit + len - 1);
                self.findings.add(format!("blocks {a} to {b} count as used, and no version maps them"));
            }
            for (bit, len) in bit_runs(&difference(found, used), true, 0) {
                let (a, b) = (first + bit, first + bit + len - 1);
                self.findings.add(format!("blocks {a} to {b} count as free, and are mapped"));
            }
            if let Some((bit, len)) = bit_runs(used, true, 0).last() {
                last = last.max(first + bit + len);
            }
            if chunk.0 == 0 && used[0] & 1 != 0 {
                self.findings.add("the blocks file's header counts as a used block");
            }
            let free = CHUNK_BLOCKS - count - crate::space::reserved(chunk);
            let said = spare.remove(&chunk).unwrap_or(0);
            if said != free {
                self.findings
                    .add(format!("chunk {} has {free} free blocks, and {said} are recorded", chunk.0));
            }
        }
        if used_blocks != state.used_blocks {
            self.findings.add(format!(
                "{} blocks count as used in all, and {used_blocks} by chunk",
                state.used_blocks
            ));
        }
        let len = blocks.len().map_err(|e| Error::io("measuring the blocks file", &e))?;
        if len < last * BLOCK_SIZE {
            self.findings.add(format!("the blocks file ends at {len}, before blocks that are used"));
        }
        Ok(bytes)
    }

    fn metadata_bytes(&mut self, state: &StateRow, bytes: u64) -> Result<()> {
        if bytes != state.metadata_bytes {
            self.findings.add(format!(
                "the catalogue's rows take {bytes} bytes, and {} are recorded",
                state.metadata_bytes
            ));
        }
        Ok(())
    }
}
