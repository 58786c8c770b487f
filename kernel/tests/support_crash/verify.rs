//! Open what a crash left, and compare it with what may be there.

use std::sync::Arc;

use cowshed_kernel::disk::Disk;
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, VersionId};
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::storage::{MemoryStorage, Storage};

use super::oracle::{Blocks, Listing, Version, World};
use super::run::options;

/// Lists are read in pieces of this many, so that going on behind a piece is tested, too.
const PIECE: usize = 5;

pub type Found = Result<World, String>;

/// Open the files. They must hold one of `worlds`; which, with the heads as they are.
pub fn verify(files: Vec<MemoryStorage>, worlds: &[World], torn: bool) -> Found {
    let mut files = files.into_iter().map(Arc::new);
    let (blocks, catalog) = (files.next().unwrap(), files.next().unwrap());
    let kernel = Kernel::open_storage(blocks.clone(), catalog, &options())
        .map_err(|error| format!("the store does not open: {:?}: {error}", error.kind))?;
    let said = |error| format!("{error}");
    let space = kernel.space().map_err(said)?;
    let end = (space.used_blocks + space.free_blocks + space.pending_blocks + 1) * BLOCK_SIZE;
    let len = blocks.len().expect("memory does not fail");
    if len > end {
        return Err(format!("the blocks file has {len} bytes, and ends at {end}"));
    }
    let findings = kernel.check().map_err(said)?;
    if !findings.is_empty() {
        return Err(format!("check finds: {findings:#?}"));
    }
    let found = listing(&kernel).map_err(said)?;
    let alike: Vec<&World> = worlds.iter().filter(|world| world.listing() == found).collect();
    if alike.is_empty() {
        let expected: Vec<_> = worlds.iter().map(World::listing).collect();
        return Err(format!("there are {found:?}\nbut expected was one of {expected:#?}"));
    }
    let mut said = Vec::new();
    for world in alike {
        match contents(&kernel, world, torn) {
            Ok(world) => return Ok(world),
            Err(why) => said.push(why),
        }
    }
    Err(said.join("\nnor: "))
}

fn listing(kernel: &Kernel) -> cowshed_kernel::error::Result<Listing> {
    let mut versions = Vec::new();
    let mut after = VersionId(0);
    loop {
        let some = kernel.versions(after, PIECE)?;
        let Some((last, _)) = some.last() else { break };
        after = *last;
        let visible = some.into_iter().filter(|(_, row)| row.state.visible());
        versions.extend(visible.map(|(id, row)| {
            let head = row.state == cowshed_kernel::rows::VersionState::Head;
            (id, head, row.size)
        }));
    }
    let mut keys: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = keys.last().map(|(key, _)| &key[..]);
        let some = kernel.core().scan(b"", after, PIECE)?;
        if some.is_empty() {
            return Ok((versions, keys));
        }
        keys.extend(some);
    }
}

/// Compare every version; the world with its heads as they were found.
fn contents(kernel: &Kernel, world: &World, torn: bool) -> Found {
    let mut found = world.clone();
    for (id, version) in &mut found.versions {
        let disk = kernel.core().disk(*id).map_err(|error| error.to_string())?;
        compare(&disk, version, torn).map_err(|why| format!("{id}: {why}"))?;
    }
    Ok(found)
}

fn compare(disk: &Disk, version: &mut Version, torn: bool) -> Result<(), String> {
    let mapped = mapped_blocks(disk).map_err(|error| error.to_string())?;
    let known = version.known();
    if let Some(index) = mapped.iter().find(|index| !known.contains(index)) {
        return Err(format!("block {index} is mapped, and nothing was ever written there"));
    }
    let mut now = Blocks::new();
    let end = version.size.div_ceil(BLOCK_SIZE);
    for index in known.into_iter().filter(|index| *index < end) {
        let start = index * BLOCK_SIZE;
        let mut buffer = [0; BLOCK];
        let read = &mut buffer[..(version.size - start).min(BLOCK_SIZE) as usize];
        disk.read(start, read).map_err(|error| error.to_string())?;
        let there = mapped.binary_search(&index).is_ok();
        let as_now = Version::block(&version.now, index)[..read.len()] == *read;
        if !version.head {
            if !as_now || there != version.now.contains_key(&index) {
                return Err(format!("frozen, and block {index} has changed; mapped: {there}"));
            }
        } else if !version.may_hold(index, read, torn) {
            return Err(format!(
                "block {index} holds neither what was flushed nor what was written since; mapped: {there}, \
                 {} writes since, {} bytes differ from what was written last",
                version.since.iter().filter(|touch| touch.index == index).count(),
                differing(&Version::block(&version.now, index), read),
            ));
        }
        if there {
            let known = [&version.flushed, &version.now];
            let same = known
                .iter()
                .find_map(|blocks| blocks.get(&index).filter(|block| block[..read.len()] == *read).cloned());
            now.insert(index, same.unwrap_or_else(|| buffer.as_slice().into()));
        }
    }
    version.own = now.keys().copied().collect();
    version.now = now.clone();
    version.flushed = now;
    version.since.clear();
    Ok(())
}

fn differing(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

fn mapped_blocks(disk: &Disk) -> cowshed_kernel::error::Result<Vec<u64>> {
    let size = disk.size();
    let mut mapped = Vec::new();
    let mut at = 0;
    while at < size {
        for (start, len, is_mapped) in disk.extents(at, size - at, PIECE)? {
            assert_eq!(start, at, "extents leave no gaps");
            at += len;
            if is_mapped {
                mapped.extend(start / BLOCK_SIZE..(start + len).div_ceil(BLOCK_SIZE));
            }
        }
    }
    mapped.dedup();
    Ok(mapped)
}
