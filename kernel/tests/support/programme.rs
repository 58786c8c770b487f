//! Random programmes: every operation of the kernel, done to a store in memory and to the naive one.

use std::collections::BTreeMap;

use cowshed_kernel::disk::Disk;
use cowshed_kernel::error::Kind;
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::transaction::Op;

use super::compare;
use super::fixture::{Files, Script, quiet};
use super::oracle::Oracle;
use super::random::{Rng, tell};

/// No more versions than this at a time, hidden ones included.
const VERSIONS: usize = 14;
/// Blocks where pages of some level meet, and the first.
const BORDERS: [u64; 5] = [0, 1 << 8, 1 << 16, 1 << 24, 1 << 32];

/// A store under test, and what it should hold.
pub struct Programme {
    pub files: Files,
    pub kernel: Kernel,
    pub oracle: Oracle,
    rng: Rng,
    options: Options,
    /// Handles that stay open over many operations.
    open: BTreeMap<u64, Disk>,
}

impl Programme {
    pub fn new(seed: u64) -> Programme {
        let mut rng = Rng::new(seed);
        // With the smaller cache nearly every page is read anew.
        let options = quiet([0, 1 << 20, 64 << 20][rng.below(3) as usize]);
        let files = Files::create();
        let kernel = files.open(&options).expect("a new store opens");
        Programme { files, kernel, oracle: Oracle::default(), rng, options, open: BTreeMap::new() }
    }

    /// Do `steps` random operations, compare now and then, at last drop everything.
    pub fn run(&mut self, steps: u64) {
        for step in 0..steps {
            self.step();
            if step % 8 == 0 {
                compare::all(&self.kernel, &self.oracle, &mut self.rng);
            }
            if self.rng.one_in(40) {
                self.kernel.assert_sound();
            }
        }
        self.end();
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..34 => self.write(),
            34..42 => self.discard(),
            42..44 => self.sparsify(),
            44..77 => self.transact(),
            77..80 => self.refused(),
            80..88 => self.look(),
            88..92 => self.kernel.core().flush().expect("flushing is possible"),
            92..96 => self.reclaim(),
            96 => self.settle(),
            97 => {
                let heads = self.oracle.heads();
                self.rng.pick(&heads).copied().into_iter().for_each(|id| self.scatter(id));
            }
            _ => self.reopen(),
        }
    }

    /// A version's handle: sometimes an old one, sometimes one that is kept.
    fn disk(&mut self, id: u64) -> Disk {
        if let Some(disk) = self.open.get(&id) {
            return disk.clone();
        }
        let disk = self.kernel.open(VersionId(id));
        if self.rng.one_in(3) {
            self.open.insert(id, disk.clone());
        }
        disk
    }

    /// A range within a disk, mostly around the borders of pages.
    fn range(&mut self, id: u64) -> Option<(u64, u64)> {
        let version = &self.oracle.versions[&id];
        let size = version.size;
        if size == 0 {
            return None;
        }
        let rng = &mut self.rng;
        let at = match rng.below(8) {
            0 => rng.below(size),
            1 => size.saturating_sub(1 + rng.below(20_000)),
            2 => return Some(compare::some_range(version, rng)),
            _ => {
                let border = *rng.pick(&BORDERS).expect("some") * BLOCK_SIZE;
                (border + rng.below(20_000)).saturating_sub(rng.below(20_000))
            }
        };
        let at = at.min(size - 1);
        let at = if rng.one_in(2) { at / BLOCK_SIZE * BLOCK_SIZE } else { at };
        let most = if rng.one_in(30) { 700 * BLOCK_SIZE } else { 5 * BLOCK_SIZE };
        let len = rng.below(most.min(size - at) + 1);
        let len = if rng.one_in(2) { len / BLOCK_SIZE * BLOCK_SIZE } else { len };
        Some((at, len))
    }

    /// Bytes, some parts of them zero.
    fn data(&mut self, len: usize) -> Vec<u8> {
        let rng = &mut self.rng;
        let mut data = rng.bytes(len);
        while len > 0 && rng.one_in(3) {
            let from = rng.below(len as u64) as usize;
            let to = from + rng.below((len - from) as u64 + 1) as usize;
            data[from..to].fill(0);
        }
        data
    }

    fn write(&mut self) {
        let heads = self.oracle.heads();
        let Some(&id) = self.rng.pick(&heads) else {
            return self.transact();
        };
        let Some((offset, len)) = self.range(id) else { return };
        let data = self.data(len.min(700 * BLOCK_SIZE) as usize);
        tell(|| format!("write {id} at {offset}: {} bytes", data.len()));
        let disk = self.disk(id);
        disk.write(offset, &data).expect("the range can be written");
        self.oracle.change(id, |version, next_token| version.write(offset, &data, next_token));
        compare::read(&disk, &self.oracle.versions[&id], offset, data.len());
    }

    /// A block in each of many leaves, so that reclaiming takes several steps.
    fn scatter(&mut self, id: u64) {
        let leaves = self.oracle.versions[&id].size >> 20;
        let first = self.rng.below(4) * 70;
        let disk = self.disk(id);
        tell(|| format!("scatter {id} from leaf {first}"));
        let data = self.rng.bytes(BLOCK);
        for leaf in first..leaves.min(first + 160) {
            let offset = (leaf << 20) + self.rng.below(2) * 5 * BLOCK_SIZE;
            disk.write(offset, &data).expect("the range can be written");
            self.oracle.change(id, |version, next_token| version.write(offset, &data, next_token));
        }
    }

    fn discard(&mut self) {
        let heads = self.oracle.heads();
        let Some(&id) = self.rng.pick(&heads) else { return };
        let Some((offset, mut len)) = self.range(id) else { return };
        let size = self.oracle.versions[&id].size;
        match self.rng.below(6) {
            0 => len = size - offset,
            1 => len = self.rng.below(size - offset + 1),
            _ => {}
        }
        tell(|| format!("discard {id} at {offset}: {len} bytes"));
        let disk = self.disk(id);
        disk.discard(offset, len).expect("the range can be discarded");
        self.oracle.change(id, |version, next_token| version.discard(offset, len, next_token));
        compare::read(&disk, &self.oracle.versions[&id], offset, len.min(1 << 20) as usize);
    }

    /// Some blocks become zero in two steps, so that they are mapped still; then all that are zero go.
    fn sparsify(&mut self) {
        let heads = self.oracle.heads();
        let Some(&id) = self.rng.pick(&heads) else { return };
        let Some((offset, len)) = self.range(id) else { return };
        let disk = self.disk(id);
        let zeros = [0; BLOCK / 2];
        let whole = offset.div_ceil(BLOCK_SIZE)..(offset + len) / BLOCK_SIZE;
        for index in whole.take(5) {
            for half in [index * BLOCK_SIZE, index * BLOCK_SIZE + BLOCK_SIZE / 2] {
                disk.write(half, &zeros).expect("the range can be written");
                self.oracle.change(id, |version, next_token| version.write(half, &zeros, next_token));
            }
        }
        tell(|| format!("sparsify {id} at {offset}: {len} bytes"));
        let unmapped = disk.sparsify(offset, len).expect("the range can be looked at");
        let mut expected = 0;
        self.oracle.change(id, |version, next_token| expected = version.sparsify(offset, len, next_token));
        assert_eq!(unmapped, expected);
        compare::read(&disk, &self.oracle.versions[&id], offset, len.min(1 << 20) as usize);
    }

    fn size(&mut self) -> u64 {
        let rng = &mut self.rng;
        let border = *rng.pick(&BORDERS).expect("some") * BLOCK_SIZE;
        let size = match rng.below(6) {
            0 => MAX_DISK_SIZE - rng.below(2) * rng.below(1 << 40),
            1 => rng.below(3 << 20),
            2 => border,
            _ => (border + rng.below(4 << 20)).saturating_sub(rng.below(2 << 20)),
        };
        if rng.one_in(3) { size / BLOCK_SIZE * BLOCK_SIZE } else { size }
    }

    /// A few operations in one transaction. Some of these cannot be done; then none may be.
    fn transact(&mut self) {
        let (mut heads, mut frozen) = (self.oracle.heads(), self.oracle.frozen());
        let mut room = VERSIONS.saturating_sub(self.oracle.versions.len());
        let mut ops = Vec::new();
        let count = if self.rng.one_in(3) { 1 + self.rng.below(4) } else { 1 };
        let favourite = self.rng.pick(&heads).copied();
        for _ in 0..count {
            let new = self.kernel.core().new_version();
            let head = if self.rng.one_in(2) { favourite } else { self.rng.pick(&heads).copied() };
            let head = head.map(VersionId);
            let source = self.rng.pick(&frozen).copied().map(VersionId);
            let op = match (self.rng.below(40), head, source) {
                (0..9, Some(head), _) if room > 0 => {
                    frozen.push(new.0);
                    Some(Op::Freeze(head, new))
                }
                (9..14, _, Some(source)) if room > 0 => {
                    heads.push(new.0);
                    Some(Op::Derive(source, new))
                }
                (14..23, _, Some(source)) => Some(Op::Drop(source)),
                (23..26, Some(head), _) => Some(Op::Drop(head)),
                (26..30, Some(head), Some(source)) => Some(Op::Rollback(head, source)),
                (30..34, Some(head), _) => Some(Op::Resize(head, self.size())),
                (34, _, _) => None,
                _ if room > 0 && heads.len() < 4 => {
                    heads.push(new.0);
                    Some(Op::Create(new, self.size()))
                }
                _ => None,
            };
            room = room.saturating_sub(1);
            let op = op.unwrap_or_else(|| self.key_op());
            ops.push(op);
        }
        self.apply(&ops);
    }

    fn key_op(&mut self) -> Op {
        let key = format!("{}/{}", self.rng.below(3), self.rng.below(30)).into_bytes();
        let known = self.oracle.keys.get(&key).cloned();
        match self.rng.below(6) {
            0 => Op::Delete(key),
            1 => Op::Require(key, known),
            2 => Op::Require(key, Some(b"never stored".to_vec())),
            _ => {
                let len = self.rng.below(200) as usize;
                Op::Put(key, self.rng.bytes(len))
            }
        }
    }

    fn apply(&mut self, ops: &[Op]) {
        let expected = self.oracle.transact(ops);
        let found = self.kernel.core().transact(ops);
        tell(|| format!("transact {ops:?}: {expected:?}"));
        assert_eq!(found.map_err(|error| error.kind), expected, "{ops:?}");
        // A handle of a version that is gone says so.
        let gone: Vec<u64> = self.open.keys().copied().collect();
        for id in gone {
            if self.oracle.versions.get(&id).is_none_or(|version| !version.visible()) {
                let disk = self.open.remove(&id).expect("just seen");
                let size = disk.size().min(1);
                let read = disk.read(0, &mut vec![0; size as usize]);
                assert!(size == 0 || read.is_err_and(|error| error.kind == Kind::Stale), "{ops:?}");
            }
        }
    }

    /// What must not be done.
    fn refused(&mut self) {
        let Some(&id) = self.rng.pick(&self.oracle.visible()) else { return };
        let disk = self.disk(id);
        let version = self.oracle.versions[&id].clone();
        let len = 1 + self.rng.below(5000);
        let beyond = (version.size + 1).saturating_sub(self.rng.below(len));
        let mut bytes = vec![7; len as usize];
        let kind = |result: cowshed_kernel::error::Result<()>| result.expect_err("refused").kind;
        let frozen = !self.oracle.heads().contains(&id);
        if beyond + len > version.size {
            assert_eq!(kind(disk.read(beyond, &mut bytes)), Kind::Invalid);
            let expected = if frozen { Kind::ReadOnly } else { Kind::Invalid };
            assert_eq!(kind(disk.write(beyond, &bytes)), expected);
            assert_eq!(kind(disk.discard(beyond, len)), expected);
        } else if frozen {
            assert_eq!(kind(disk.write(beyond, &bytes)), Kind::ReadOnly);
        }
        assert_eq!(kind(disk.read(u64::MAX - 1, &mut bytes)), Kind::Invalid);
        assert_eq!(disk.read_only(), frozen);
        let nothing = VersionId(u64::MAX >> 20);
        let missing = self.kernel.core().disk(nothing).map(|_| ());
        assert_eq!(kind(missing), Kind::Missing);
        self.apply(&[Op::Put(Vec::new(), Vec::new())]);
        self.apply(&[Op::Drop(nothing)]);
        self.apply(&[Op::Resize(VersionId(id), MAX_DISK_SIZE + 1)]);
    }

    /// Ranges of everything that can be asked.
    fn look(&mut self) {
        let visible = self.oracle.visible();
        let Some(&id) = self.rng.pick(&visible) else { return };
        let disk = self.disk(id);
        let version = &self.oracle.versions[&id];
        let rng = &mut self.rng;
        let (offset, len) = compare::some_range(version, rng);
        compare::read(&disk, version, offset, len.min(1 << 20) as usize);
        compare::extents(&disk, version, (offset, len), 1 + rng.below(5) as usize);
        let old = (!rng.one_in(5)).then(|| *rng.pick(&visible).expect("some"));
        let range = compare::some_range(version, rng);
        compare::diff(&self.kernel, &self.oracle, (old, id), range, 1 + rng.below(5) as usize);
        compare::keys(
            &self.kernel,
            &self.oracle,
            format!("{}/", rng.below(4)).as_bytes(),
            1 + rng.below(5) as usize,
        );
    }

    fn reclaim(&mut self) {
        let eager = if self.rng.one_in(2) { Eager::Now } else { Eager::Background };
        let budget = 1 + self.rng.below(3) * self.rng.below(200);
        let core = self.kernel.core();
        let done = core.reclaim(budget, eager).expect("reclaiming is possible");
        tell(|| format!("reclaim {budget} {eager:?}: {done}"));
        if eager == Eager::Background && done == 0 {
            compare::hidden_blocks(&self.kernel, &self.oracle);
        }
    }

    /// Reclaim everything.
    fn settle(&mut self) {
        tell(|| "settle".into());
        if self.rng.one_in(2) {
            while self.kernel.core().reclaim(1000, Eager::Background).expect("reclaiming is possible") > 0 {}
            compare::hidden_blocks(&self.kernel, &self.oracle);
        }
        self.kernel.reclaim_all();
        compare::settled(&self.kernel, &self.oracle);
    }

    /// Close and open again, or open what a crash without losses would leave.
    fn reopen(&mut self) {
        tell(|| "reopen".into());
        self.open.clear();
        if self.rng.one_in(2) {
            self.kernel.close().expect("closing is possible");
        } else {
            self.kernel.core().flush().expect("flushing is possible");
            self.files = self.files.copy();
        }
        self.kernel = self.files.open(&self.options).expect("the store opens again");
        compare::all(&self.kernel, &self.oracle, &mut self.rng);
    }

    /// Take large versions apart step by step, and change their neighbours between the steps.
    pub fn run_large(&mut self) {
        let new = |programme: &Programme| programme.kernel.core().new_version();
        let head = new(self);
        self.apply(&[Op::Create(head, 1 << 40)]);
        for _ in 0..2 + self.rng.below(3) {
            let ids: Vec<u64> = self.oracle.heads();
            for id in ids {
                self.scatter(id);
                let frozen = new(self);
                self.apply(&[Op::Freeze(VersionId(id), frozen)]);
                if self.rng.one_in(3) {
                    let derived = new(self);
                    self.apply(&[Op::Derive(frozen, derived)]);
                }
                self.scatter(id);
            }
        }
        while let Some(&id) = self.rng.pick(&self.oracle.visible()) {
            self.apply(&[Op::Drop(VersionId(id))]);
            for _ in 0..self.rng.below(8) {
                let eager = if self.rng.one_in(2) { Eager::Now } else { Eager::Background };
                self.kernel.core().reclaim(1, eager).expect("reclaiming is possible");
                self.kernel.assert_sound();
                for id in self.oracle.heads() {
                    let leaf = self.rng.below(370) << 20;
                    let data = self.rng.bytes(BLOCK);
                    self.kernel.write(VersionId(id), leaf, &data);
                    self.oracle.change(id, |version, next_token| version.write(leaf, &data, next_token));
                }
            }
            compare::all(&self.kernel, &self.oracle, &mut self.rng);
            if self.rng.one_in(2) {
                while self.kernel.core().reclaim(100, Eager::Background).expect("reclaiming is possible") > 0
                {
                }
                compare::hidden_blocks(&self.kernel, &self.oracle);
            }
        }
        self.end();
    }

    fn end(&mut self) {
        self.kernel.assert_sound();
        self.settle();
        compare::all(&self.kernel, &self.oracle, &mut self.rng);
        loop {
            let visible = self.oracle.visible();
            let Some(&id) = self.rng.pick(&visible) else { break };
            self.apply(&[Op::Drop(VersionId(id))]);
            if self.rng.one_in(3) {
                self.kernel.reclaim_all();
                compare::settled(&self.kernel, &self.oracle);
            }
            compare::all(&self.kernel, &self.oracle, &mut self.rng);
        }
        self.kernel.assert_sound();
        self.kernel.reclaim_all();
        compare::settled(&self.kernel, &self.oracle);
        self.kernel.assert_sound();
    }
}
