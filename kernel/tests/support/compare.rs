//! The kernel's answers against the naive store's.

use std::collections::BTreeMap;

use cowshed_kernel::disk::{Disk, Extent};
use cowshed_kernel::ids::{BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::rows::CHUNK_BLOCKS;

use super::oracle::{Oracle, Version};
use super::random::Rng;

/// Pieces that meet and are alike, as one.
fn join(extents: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let mut joined: Vec<Extent> = Vec::new();
    for (at, len, mapped) in extents {
        match joined.last_mut() {
            Some((start, n, m)) if *m == mapped && *start + *n == at => *n += len,
            _ => joined.push((at, len, mapped)),
        }
    }
    joined
}

/// A block's bytes within a range.
fn clip(index: u64, offset: u64, end: u64) -> (u64, u64) {
    let start = (index * BLOCK_SIZE).max(offset);
    (start, ((index + 1) * BLOCK_SIZE).min(end) - start)
}

/// A random range that lies within a disk, often near its blocks.
pub fn some_range(version: &Version, rng: &mut Rng) -> (u64, u64) {
    if version.size == 0 {
        return (0, 0);
    }
    let mut at = rng.below(version.size);
    if let Some((index, _)) = version.blocks.range(at / BLOCK_SIZE..).next()
        && rng.below(4) > 0
    {
        at = (index * BLOCK_SIZE).saturating_sub(rng.below(3 * BLOCK_SIZE)).min(version.size);
    }
    let longest = version.size - at + 1;
    let len = match rng.below(3) {
        0 => rng.below(longest),
        1 => rng.below(longest.min(300 * BLOCK_SIZE)),
        _ => rng.below(longest.min(3 * BLOCK_SIZE)),
    };
    (at, len)
}

/// Read a range.
pub fn read(disk: &Disk, version: &Version, offset: u64, len: usize) {
    let (mut found, mut expected) = (vec![0xaa; len], vec![0xbb; len]);
    disk.read(offset, &mut found).expect("the range can be read");
    version.read(offset, &mut expected);
    if let Some(at) = found.iter().zip(&expected).position(|(a, b)| a != b) {
        let at = offset + at as u64;
        panic!("{} at {at}, read in {offset}..{}", disk.version(), offset + len as u64);
    }
}

/// Read around every mapped block.
pub fn read_all(disk: &Disk, version: &Version) {
    let mut done = 0;
    for index in version.blocks.keys() {
        let first = (index * BLOCK_SIZE).saturating_sub(100).max(done);
        let end = ((index + 1) * BLOCK_SIZE + 100).min(version.size);
        if first < end {
            read(disk, version, first, (end - first) as usize);
            done = end;
        }
    }
}

/// Which parts of a range are mapped, asked for in several calls.
pub fn extents(disk: &Disk, version: &Version, (offset, len): (u64, u64), limit: usize) {
    let end = offset + len;
    let mut found = Vec::new();
    let mut at = offset;
    while at < end {
        let some = disk.extents(at, end - at, limit).expect("the range can be looked at");
        assert!(!some.is_empty() && some.len() <= limit, "{} extents of {limit}", some.len());
        for &(start, n, _) in &some {
            assert!(start == at && n > 0, "extents of {} leave a gap at {at}", disk.version());
            at += n;
        }
        found.extend(some);
    }
    assert_eq!(at, end.max(offset), "extents of {} end elsewhere", disk.version());
    let mut expected = Vec::new();
    let mut at = offset;
    if len > 0 {
        for index in
            version.blocks.range(offset / BLOCK_SIZE..end.div_ceil(BLOCK_SIZE)).map(|(index, _)| *index)
        {
            let (start, n) = clip(index, offset, end);
            expected.push((at, start - at, false));
            expected.push((start, n, true));
            at = start + n;
        }
        expected.push((at, end - at, false));
    }
    expected.retain(|(_, n, _)| *n > 0);
    assert_eq!(join(found), join(expected), "extents of {} in {offset}..{end}", disk.version());
}

/// What differs between two versions in a range, asked for in several calls.
pub fn diff(
    kernel: &Kernel,
    oracle: &Oracle,
    (old, new): (Option<u64>, u64),
    (offset, len): (u64, u64),
    limit: usize,
) {
    let core = kernel.core();
    let none = Version::new(0);
    let (a, b) = (old.map_or(&none, |old| &*oracle.versions[&old]), &*oracle.versions[&new]);
    let end = (offset + len).min(a.size.max(b.size));
    let mut found = Vec::new();
    let mut at = offset;
    loop {
        let rest = (offset + len).saturating_sub(at);
        let (some, next) = core
            .diff(old.map(VersionId), VersionId(new), at, Some(rest), limit)
            .expect("both versions are there");
        for &(start, n, _) in &some {
            assert!(start >= at && n > 0 && start + n <= end, "the diff leaves {at}..{end}: {start} {n}");
        }
        found.extend(some);
        match next {
            Some(next) => {
                assert!(next > at && next < end, "a diff in {at}..{end} goes on at {next}");
                at = next;
            }
            None => break,
        }
    }
    let mut expected = BTreeMap::new();
    // Behind the end of the shorter disk its last block counts as zero, whatever lies there.
    let ragged = (old.is_some() && a.size != b.size).then(|| a.size.min(b.size));
    let ragged = ragged.filter(|size| size % BLOCK_SIZE != 0).map(|size| size / BLOCK_SIZE);
    for (ours, theirs, mapped) in [(a, b, false), (b, a, true)] {
        for (index, block) in &ours.blocks {
            let other = theirs.blocks.get(index);
            if other.is_none_or(|other| other.token != block.token) || ragged == Some(*index) {
                expected.insert(*index, mapped);
            }
        }
    }
    let inside = |index: &u64| index * BLOCK_SIZE < end && (index + 1) * BLOCK_SIZE > offset && offset < end;
    let expected = expected.into_iter().filter(|(index, _)| inside(index)).map(|(index, mapped)| {
        let (start, n) = clip(index, offset, end);
        (start, n, mapped)
    });
    assert_eq!(join(found), join(expected), "the diff from {old:?} to {new} in {offset}..{end}");
}

/// Rows of versions that can be named, without what reclaiming may change.
pub fn versions(kernel: &Kernel, oracle: &Oracle) {
    let mut found = Vec::new();
    let mut after = VersionId(0);
    loop {
        let some = kernel.versions(after, 3).expect("versions are listed");
        let Some((last, _)) = some.last() else { break };
        after = *last;
        found.extend(some.into_iter().filter(|(_, row)| row.state.visible()));
    }
    let ids: Vec<u64> = found.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, oracle.visible(), "the visible versions");
    for (id, row) in found {
        let version = &oracle.versions[&id.0];
        assert_eq!((row.state, row.size), (version.state, version.size), "{id}");
        assert_eq!(row.mapped, version.blocks.len() as u64, "blocks that {id} maps");
    }
}

pub fn keys(kernel: &Kernel, oracle: &Oracle, prefix: &[u8], limit: usize) {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone());
        let some = kernel.core().scan(prefix, after.as_deref(), limit).expect("keys are listed");
        assert!(some.len() <= limit);
        if some.is_empty() {
            break;
        }
        found.extend(some);
    }
    let expected = oracle.keys.iter().filter(|(key, _)| key.starts_with(prefix));
    let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(found, expected, "the keys that start with {prefix:?}");
}

/// Everything that does not depend on what was reclaimed.
pub fn all(kernel: &Kernel, oracle: &Oracle, rng: &mut Rng) {
    versions(kernel, oracle);
    keys(kernel, oracle, b"", 7);
    let visible = oracle.visible();
    for id in &visible {
        let version = &oracle.versions[id];
        let disk = kernel.core().disk(VersionId(*id)).expect("the version is there");
        assert_eq!(disk.size(), version.size);
        read_all(&disk, version);
        extents(&disk, version, (0, version.size), 1 + rng.below(50) as usize);
        let exclusive = kernel.core().exclusive_blocks(VersionId(*id)).expect("blocks are counted");
        assert_eq!(exclusive, oracle.exclusive_blocks(*id), "blocks that only version {id} holds");
        let other = rng.pick(&visible).copied();
        diff(kernel, oracle, (other, *id), (0, MAX_DISK_SIZE), 1 + rng.below(50) as usize);
    }
}

/// Everything, once nothing is left to be reclaimed.
pub fn settled(kernel: &Kernel, oracle: &Oracle) {
    let space = kernel.space().expect("space is counted");
    let used = oracle.visible_blocks().len() as u64;
    assert_eq!(space.used_blocks, used, "used blocks");
    assert_eq!(space.pages, oracle.pages(), "pages");
    assert_eq!(space.versions, oracle.versions.len() as u64, "versions");
    assert_eq!(
        space.hidden_versions,
        (oracle.versions.len() - oracle.visible().len()) as u64,
        "hidden versions"
    );
    assert_eq!(space.keys, oracle.keys.len() as u64, "keys");
    let left = (space.dying_versions, space.pending_blocks, space.unpunched_chunks);
    assert_eq!(left, (0, 0, 0), "dying versions, pending blocks, unpunched chunks");
    assert_eq!(kernel.core().hidden_blocks().expect("blocks are counted"), 0, "hidden blocks");
    assert_eq!(space.blocks_file_bytes, (1 + used) * BLOCK_SIZE, "what the blocks file takes");
    let all = space.used_blocks + space.free_blocks + 1;
    assert!(all == 1 || all.is_multiple_of(CHUNK_BLOCKS), "{} blocks are free", space.free_blocks);
    for (id, version) in &oracle.versions {
        let row = kernel.core().version(VersionId(*id)).expect("the version is there");
        assert_eq!(row.state, version.state, "version {id}");
        assert_eq!(row.parent.map(|parent| parent.0), version.parent, "the parent of version {id}");
        let children =
            kernel.core().children(VersionId(*id), VersionId(0), 1000).expect("children are listed");
        let children: Vec<u64> = children.iter().map(|child| child.0).collect();
        assert_eq!(children, oracle.children(*id), "the children of version {id}");
        assert_eq!(row.children, children.len() as u64, "how many children version {id} has");
    }
    if oracle.versions.is_empty() {
        let keys: usize = oracle.keys.iter().map(|(key, value)| key.len() + 4 + value.len()).sum();
        assert_eq!(space.metadata_bytes, keys as u64, "bytes in the catalogue");
        assert_eq!(space.free_blocks, 0);
    }
}

/// Blocks that no visible version holds are what hidden ones hold, if nothing is being taken apart.
pub fn hidden_blocks(kernel: &Kernel, oracle: &Oracle) {
    let space = kernel.space().expect("space is counted");
    assert_eq!(space.dying_versions, 0);
    let hidden = kernel.core().hidden_blocks().expect("blocks are counted");
    assert_eq!(space.used_blocks - oracle.visible_blocks().len() as u64, hidden, "hidden blocks");
}
