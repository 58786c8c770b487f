//! Random deeds that a store's state allows.

use cowshed_kernel::core::Core;
use cowshed_kernel::ids::{BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use cowshed_kernel::transaction::Op;

use super::hooks::When;
use super::oracle::World;
use super::rng::Rng;
use super::run::{Deed, Nested, Run};

const SIZES: [u64; 8] =
    [0, 1, 3 * BLOCK_SIZE, 10 * BLOCK_SIZE + 100, 40 * BLOCK_SIZE, 600 * BLOCK_SIZE, 1 << 40, MAX_DISK_SIZE];
/// Where leaves and the pages above them begin and end.
const HOT: [u64; 6] = [0, 0, 0, 253, 65533, 256 * 65536 - 3];
const MOST_VERSIONS: usize = 9;

/// Do `steps` random deeds.
pub fn go_on(run: &mut Run, rng: &mut Rng, steps: usize) {
    for _ in 0..steps {
        let (deed, nested) = next(run, rng);
        run.nested(deed, nested);
    }
}

fn next(run: &Run, rng: &mut Rng) -> (Deed, Option<Nested>) {
    let world = &run.world;
    let deed = match rng.below(100) {
        0..40 => write(world, rng, None),
        40..50 => discard(world, rng),
        50..84 => Some(transaction(run.core(), world, rng)),
        84..86 => Some(refused(run.core(), world, rng)),
        86..92 => Some(Deed::Flush),
        92 => Some(Deed::Checkpoint),
        _ => Some(Deed::Reclaim([1, 3, 5000][rng.below(3) as usize])),
    };
    let deed = deed.unwrap_or_else(|| Deed::Transact(create(run.core(), rng)));
    let nested = if rng.once_in(3) { nest(run, rng, &deed) } else { None };
    (deed, nested)
}

fn write(world: &World, rng: &mut Rng, head: Option<VersionId>) -> Option<Deed> {
    let head = head.or_else(|| rng.pick(&world.heads()).copied())?;
    let (offset, len) = range(rng, world.get(head).size)?;
    let mut data = rng.bytes(len as usize);
    if rng.once_in(6) {
        let start = rng.below(len) as usize;
        let zeros = (3 * BLOCK_SIZE as usize).min(data.len() - start);
        data[start..start + zeros].fill(0);
    }
    Some(Deed::Write(head, offset, data))
}

fn range(rng: &mut Rng, size: u64) -> Option<(u64, u64)> {
    if size == 0 {
        return None;
    }
    let near = *rng.pick(&HOT).unwrap() + rng.below(6);
    let near = if rng.once_in(8) { (size / BLOCK_SIZE).saturating_sub(near % 7) } else { near };
    let inside = if rng.once_in(2) { rng.below(BLOCK_SIZE) } else { 0 };
    let offset = (near * BLOCK_SIZE + inside) % size;
    let lens = [1, 700, BLOCK_SIZE, 2 * BLOCK_SIZE, 1 + rng.below(4 * BLOCK_SIZE)];
    Some((offset, (*rng.pick(&lens).unwrap()).min(size - offset)))
}

fn discard(world: &World, rng: &mut Rng) -> Option<Deed> {
    let head = *rng.pick(&world.heads())?;
    let size = world.get(head).size;
    let (offset, len) = range(rng, size)?;
    Some(match rng.below(5) {
        0 => Deed::Discard(head, 0, size),
        1 => Deed::Discard(head, offset, size - offset),
        _ => Deed::Discard(head, offset, len),
    })
}

fn name(id: VersionId) -> Vec<u8> {
    format!("version/{:08}", id.0).into_bytes()
}

fn create(core: &Core, rng: &mut Rng) -> Vec<Op> {
    let id = core.new_version();
    let size = *rng.pick(&SIZES).unwrap();
    vec![Op::Create(id, size), Op::Put(name(id), b"created".to_vec())]
}

/// One to three operations on versions, with a key for every version, as the package has them.
fn transaction(core: &Core, world: &World, rng: &mut Rng) -> Deed {
    let mut after = world.clone();
    let mut ops = Vec::new();
    if rng.once_in(8)
        && let Some(head) = rng.pick(&after.heads())
    {
        ops.push(Op::Resize(*head, *rng.pick(&SIZES).unwrap()));
    }
    for _ in 0..1 + rng.below(3) {
        let some = operation(core, &after, rng);
        for op in &some {
            after.op(op);
        }
        ops.extend(some);
    }
    // Each transaction leaves its mark, so that it can be seen whether it happened.
    ops.push(Op::Put(b"mark".to_vec(), rng.next().to_le_bytes().to_vec()));
    Deed::Transact(ops)
}

fn operation(core: &Core, world: &World, rng: &mut Rng) -> Vec<Op> {
    let room = world.versions.len() < MOST_VERSIONS;
    let (heads, frozen) = (world.heads(), world.frozen());
    let (head, other) = (rng.pick(&heads).copied(), rng.pick(&frozen).copied());
    match (rng.below(16), head, other) {
        (0..5, Some(head), _) if room => {
            let id = core.new_version();
            vec![Op::Freeze(head, id), Op::Put(name(id), b"frozen".to_vec())]
        }
        (5..8, _, Some(frozen)) if room => {
            let id = core.new_version();
            vec![Op::Derive(frozen, id), Op::Put(name(id), b"derived".to_vec())]
        }
        (8..10, Some(head), Some(frozen)) => vec![Op::Rollback(head, frozen)],
        (10, _, _) if room => create(core, rng),
        (11, _, _) => keys(world, rng),
        (12..15, Some(head), _) if heads.len() > 2 || (heads.len() > 1 && !room) => forget(head),
        (_, _, Some(frozen)) => forget(frozen),
        _ => keys(world, rng),
    }
}

fn forget(id: VersionId) -> Vec<Op> {
    vec![Op::Drop(id), Op::Delete(name(id))]
}

fn keys(world: &World, rng: &mut Rng) -> Vec<Op> {
    let known: Vec<&Vec<u8>> = world.keys.keys().filter(|key| key.starts_with(b"key/")).collect();
    if let Some(key) = rng.pick(&known)
        && (rng.once_in(3) || known.len() > 12)
    {
        return vec![Op::Delete(key.to_vec())];
    }
    let key = format!("key/{}", rng.below(30)).into_bytes();
    let len = if rng.once_in(5) { 9000 } else { rng.below(60) };
    vec![Op::Put(key, rng.bytes(len as usize))]
}

fn refused(core: &Core, world: &World, rng: &mut Rng) -> Deed {
    let Deed::Transact(mut ops) = transaction(core, world, rng) else { unreachable!() };
    ops.retain(|op| !matches!(op, Op::Resize(..)));
    ops.push(Op::Require(b"mark".to_vec(), Some(b"another".to_vec())));
    Deed::Refused(ops)
}

/// Something to be done in the midst of a deed, if anything may.
fn nest(run: &Run, rng: &mut Rng, deed: &Deed) -> Option<Nested> {
    let world = &run.world;
    match deed {
        Deed::Write(head, offset, data) => {
            let first = offset / BLOCK_SIZE;
            let last = (offset + data.len() as u64 - 1) / BLOCK_SIZE;
            let own = &world.get(*head).own;
            // A write in place keeps out who would take its blocks from the head.
            let in_place = own.range(first..=last).next().is_some();
            let deed = if rng.once_in(3) {
                Deed::Reclaim(1000)
            } else if in_place || rng.once_in(2) {
                Deed::Flush
            } else {
                let id = run.core().new_version();
                Deed::Transact(vec![Op::Freeze(*head, id), Op::Put(name(id), b"frozen".to_vec())])
            };
            let when = When::BlocksWritten;
            Some(Nested { when, deed })
        }
        Deed::Flush | Deed::Reclaim(_) | Deed::Transact(_) => {
            let mut after = world.clone();
            if let Deed::Transact(ops) = deed {
                after.transact(ops);
            }
            let when =
                *rng.pick(&[When::BlocksSync, When::BlocksSynced, When::CatalogSync, When::CatalogSynced])?;
            let deed = write(&after, rng, None)?;
            Some(Nested { when, deed })
        }
        _ => None,
    }
}
