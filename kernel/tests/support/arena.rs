//! Threads that do everything at once to a few disks, each answer held against what it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use cowshed_kernel::disk::Disk;
use cowshed_kernel::error::{Error, Kind};
use cowshed_kernel::ids::{BLOCK_SIZE, VersionId};
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::transaction::Op;
use parking_lot::Mutex;

use super::fixture::Script;
use super::history::{Begun, Clock, History};
use super::random::Rng;

/// A piece is half a block, so that two writers share blocks.
const PIECE: u64 = BLOCK_SIZE / 2;
/// First piece and number of pieces of the places that are used, around the borders of pages.
const PLACES: [(u64, u64); 3] = [(0, 16), (2 * 252, 16), (2 * 65532, 16)];
const PIECES: usize = 48;
const FULL: u64 = 65540 * BLOCK_SIZE;
/// Ends in the middle of a block that is used.
const SHORT: u64 = 256 * BLOCK_SIZE + PIECE;

const HEADS: usize = 3;
const FROZEN: usize = 10;

type Tokens = [u64; PIECES];

/// Where a piece lies on its disk.
fn offset(piece: usize) -> u64 {
    let (first, _) = PLACES[piece / 16];
    (first + piece as u64 % 16) * PIECE
}

struct Head {
    disk: Disk,
    pieces: Vec<History>,
    /// Set before it is dropped.
    dropped: AtomicBool,
}

struct Frozen {
    disk: Disk,
    tokens: Tokens,
    dropped: AtomicBool,
}

/// The store and all that is known of it.
pub struct Arena {
    pub kernel: Kernel,
    clock: Clock,
    tokens: AtomicU64,
    heads: Mutex<Vec<Arc<Head>>>,
    frozen: Mutex<Vec<Arc<Frozen>>>,
    /// Workers that are not done.
    working: AtomicU64,
}

/// Counts a worker down, even when it panics.
struct Working<'a>(&'a Arena);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, SeqCst);
    }
}

fn decode(bytes: &[u8]) -> Vec<u64> {
    let words = |piece: &[u8]| -> Vec<u64> {
        piece.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
    };
    let token = |piece| {
        let words = words(piece);
        assert!(
            words.iter().all(|word| *word == words[0]),
            "a piece is torn: {} and {:?}",
            words[0],
            words.last()
        );
        words[0]
    };
    bytes.chunks_exact(PIECE as usize).map(token).collect()
}

impl Arena {
    pub fn new(kernel: Kernel) -> Arena {
        let arena = Arena {
            clock: Clock::default(),
            tokens: AtomicU64::new(0),
            heads: Mutex::new(Vec::new()),
            frozen: Mutex::new(Vec::new()),
            working: AtomicU64::new(0),
            kernel,
        };
        for _ in 0..HEADS {
            let id = arena.kernel.create(FULL);
            arena.add_head(id, &[0; PIECES]);
        }
        arena
    }

    fn add_head(&self, id: VersionId, tokens: &Tokens) {
        let head = Head {
            disk: self.kernel.open(id),
            pieces: tokens.iter().map(|token| History::new(*token)).collect(),
            dropped: AtomicBool::new(false),
        };
        self.heads.lock().push(Arc::new(head));
    }

    /// Run `threads` workers for `steps` operations each, and one that reclaims and flushes.
    pub fn run(&self, seed: u64, threads: u64, steps: u64) {
        self.working.store(threads, SeqCst);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || {
                    let _working = Working(self);
                    let mut rng = Rng::new(seed ^ thread << 56);
                    (0..steps).for_each(|_| self.step(&mut rng));
                });
            }
            let mut rng = Rng::new(!seed);
            while self.working.load(SeqCst) > 0 {
                let eager = if rng.one_in(2) { Eager::Now } else { Eager::Background };
                self.kernel.core().reclaim(1 + rng.below(60), eager).expect("reclaiming is possible");
                if rng.one_in(3) {
                    self.kernel.core().flush().expect("flushing is possible");
                }
            }
        });
    }

    fn step(&self, rng: &mut Rng) {
        let Some(head) = rng.pick(&self.heads.lock()).cloned() else { return };
        let frozen = rng.pick(&self.frozen.lock()).cloned();
        match (rng.below(100), frozen) {
            (0..45, _) => self.write(&head, rng),
            (45..70, _) => self.read(&head, rng),
            (70..75, Some(frozen)) => self.read_frozen(&frozen),
            (75..80, _) => self.freeze(&head),
            (80..83, Some(frozen)) if self.heads.lock().len() < HEADS => self.derive(&frozen),
            (83..86, Some(frozen)) => self.drop_frozen(&frozen),
            (86..87, Some(_)) if self.heads.lock().len() == HEADS => self.drop_head(&head),
            (87..89, Some(frozen)) => self.rollback(&head, &frozen),
            (89..92, _) => self.resize(&head, rng),
            (92..94, Some(frozen)) => self.diff(&frozen, rng),
            (94..96, _) => self.kernel.core().flush().expect("flushing is possible"),
            _ if rng.below(4) == 0 => self.sparsify(&head, rng),
            _ => self.discard(&head, rng),
        }
    }

    /// It changes nothing that can be read, whoever writes meanwhile.
    fn sparsify(&self, head: &Head, rng: &mut Rng) {
        let pieces = Arena::some_pieces(rng);
        let (at, len) = (offset(pieces.start), pieces.len() as u64 * PIECE);
        if let Err(error) = head.disk.sparsify(at, len) {
            self.excuse(&error, &head.dropped, at + len);
        }
    }

    /// Some pieces that follow one another.
    fn some_pieces(rng: &mut Rng) -> std::ops::Range<usize> {
        let first = rng.below(PIECES as u64) as usize;
        let end = (first + 1 + rng.below(6) as usize).min(first / 16 * 16 + 16);
        first..end
    }

    fn begin(&self, head: &Head, tokens: impl Iterator<Item = (usize, u64)>) -> Vec<(usize, Begun)> {
        let now = self.clock.now();
        tokens.map(|(piece, token)| (piece, head.pieces[piece].begin(token, now))).collect()
    }

    fn end(&self, head: &Head, events: Vec<(usize, Begun)>) {
        let now = self.clock.now();
        events.iter().for_each(|(piece, begun)| head.pieces[*piece].end(begun, now));
    }

    fn undo(&self, head: &Head, events: Vec<(usize, Begun)>) {
        events.iter().for_each(|(piece, begun)| head.pieces[*piece].undo(begun));
    }

    /// An error that only a drop, or a resize that came in between, explains.
    fn excuse(&self, error: &Error, dropped: &AtomicBool, end: u64) {
        match error.kind {
            Kind::Stale | Kind::Missing if dropped.load(SeqCst) => {}
            Kind::Invalid if end > SHORT => {}
            _ => panic!("{:?}: {error}", error.kind),
        }
    }

    fn write(&self, head: &Head, rng: &mut Rng) {
        let pieces = Arena::some_pieces(rng);
        let token = |_| self.tokens.fetch_add(1, SeqCst) + 1;
        let tokens: Vec<u64> = pieces.clone().map(token).collect();
        let mut data = Vec::new();
        tokens.iter().for_each(|token| data.extend(token.to_le_bytes().repeat(PIECE as usize / 8)));
        let at = offset(pieces.start);
        let events = self.begin(head, pieces.zip(tokens));
        match head.disk.write(at, &data) {
            Ok(()) => self.end(head, events),
            Err(error) => self.excuse(&error, &head.dropped, at + data.len() as u64),
        }
    }

    fn discard(&self, head: &Head, rng: &mut Rng) {
        let pieces = Arena::some_pieces(rng);
        let (at, len) = (offset(pieces.start), pieces.len() as u64 * PIECE);
        let events = self.begin(head, pieces.map(|piece| (piece, 0)));
        match head.disk.discard(at, len) {
            Ok(()) => self.end(head, events),
            Err(error) => self.excuse(&error, &head.dropped, at + len),
        }
    }

    fn read(&self, head: &Head, rng: &mut Rng) {
        let pieces = Arena::some_pieces(rng);
        let at = offset(pieces.start);
        let mut data = vec![0xee; pieces.len() * PIECE as usize];
        let start = self.clock.now();
        let result = head.disk.read(at, &mut data);
        let end = self.clock.now();
        match result {
            Ok(()) => {
                for (piece, token) in pieces.zip(decode(&data)) {
                    self.expect(head, piece, token, start, end);
                }
            }
            Err(error) => self.excuse(&error, &head.dropped, at + data.len() as u64),
        }
    }

    fn expect(&self, head: &Head, piece: usize, token: u64, start: u64, end: u64) {
        let history = &head.pieces[piece];
        let told = || history.told();
        let disk = &head.disk;
        assert!(
            history.allows(token, start, end),
            "{} piece {piece} holds {token} in {start}..{end}: {}",
            disk.version(),
            told()
        );
    }

    /// All tokens of a version that does not change.
    fn tokens_of(&self, disk: &Disk) -> Result<Tokens, Error> {
        let size = disk.size();
        let mut tokens = [0; PIECES];
        for place in 0..PLACES.len() {
            let at = offset(16 * place);
            let pieces = (size.saturating_sub(at) / PIECE).min(16) as usize;
            let mut data = vec![0; pieces * PIECE as usize];
            if !data.is_empty() {
                disk.read(at, &mut data)?;
            }
            tokens[16 * place..16 * place + pieces].copy_from_slice(&decode(&data));
        }
        Ok(tokens)
    }

    fn freeze(&self, head: &Head) {
        if self.frozen.lock().len() >= FROZEN {
            return;
        }
        let id = self.kernel.core().new_version();
        let start = self.clock.now();
        if let Err(error) = self.kernel.core().transact(&[Op::Freeze(head.disk.version(), id)]) {
            return self.excuse(&error, &head.dropped, 0);
        }
        let end = self.clock.now();
        let disk = self.kernel.open(id);
        let tokens = self.tokens_of(&disk).expect("it can be read");
        for (piece, token) in tokens.iter().enumerate() {
            self.expect(head, piece, *token, start, end);
        }
        let frozen = Frozen { disk, tokens, dropped: AtomicBool::new(false) };
        self.frozen.lock().push(Arc::new(frozen));
    }

    fn read_frozen(&self, frozen: &Frozen) {
        match self.tokens_of(&frozen.disk) {
            Ok(tokens) => assert_eq!(tokens, frozen.tokens, "{} changed", frozen.disk.version()),
            Err(error) => self.excuse(&error, &frozen.dropped, 0),
        }
    }

    fn derive(&self, frozen: &Frozen) {
        let id = self.kernel.core().new_version();
        match self.kernel.core().transact(&[Op::Derive(frozen.disk.version(), id)]) {
            Ok(()) => self.add_head(id, &frozen.tokens),
            Err(error) => self.excuse(&error, &frozen.dropped, 0),
        }
    }

    /// True for the one who is to drop it.
    fn take<T>(from: &Mutex<Vec<Arc<T>>>, what: &Arc<T>) -> bool {
        let mut all = from.lock();
        let before = all.len();
        all.retain(|other| !Arc::ptr_eq(other, what));
        all.len() < before
    }

    fn drop_frozen(&self, frozen: &Arc<Frozen>) {
        if Arena::take(&self.frozen, frozen) {
            frozen.dropped.store(true, SeqCst);
            self.kernel.apply(Op::Drop(frozen.disk.version()));
        }
    }

    fn drop_head(&self, head: &Arc<Head>) {
        if Arena::take(&self.heads, head) {
            head.dropped.store(true, SeqCst);
            self.kernel.apply(Op::Drop(head.disk.version()));
        }
    }

    fn rollback(&self, head: &Head, frozen: &Frozen) {
        let events = self.begin(head, frozen.tokens.iter().copied().enumerate());
        match self.kernel.core().transact(&[Op::Rollback(head.disk.version(), frozen.disk.version())]) {
            Ok(()) => self.end(head, events),
            Err(error) => {
                self.undo(head, events);
                let dropped = AtomicBool::new(head.dropped.load(SeqCst) || frozen.dropped.load(SeqCst));
                self.excuse(&error, &dropped, 0);
            }
        }
    }

    fn resize(&self, head: &Head, rng: &mut Rng) {
        let size = if rng.one_in(3) { SHORT } else { FULL };
        let cut = (0..PIECES).filter(|piece| offset(*piece) >= size).map(|piece| (piece, 0));
        let events = self.begin(head, cut);
        match self.kernel.core().transact(&[Op::Resize(head.disk.version(), size)]) {
            Ok(()) => self.end(head, events),
            Err(error) => {
                self.undo(head, events);
                self.excuse(&error, &head.dropped, 0);
            }
        }
    }

    /// What differs in content is in the diff.
    fn diff(&self, old: &Frozen, rng: &mut Rng) {
        let Some(new) = rng.pick(&self.frozen.lock()).cloned() else { return };
        let ids = (old.disk.version(), new.disk.version());
        let (extents, next) = match self.kernel.core().diff(Some(ids.0), ids.1, 0, None, 1000) {
            Ok(diff) => diff,
            Err(error) => {
                let dropped = AtomicBool::new(old.dropped.load(SeqCst) || new.dropped.load(SeqCst));
                return self.excuse(&error, &dropped, 0);
            }
        };
        assert_eq!(next, None);
        for piece in (0..PIECES).filter(|piece| old.tokens[*piece] != new.tokens[*piece]) {
            let at = offset(piece);
            let inside = extents.iter().any(|(start, len, _)| (*start..*start + *len).contains(&at));
            assert!(inside, "from {} to {} piece {piece} differs and is not in the diff", ids.0, ids.1);
        }
    }

    /// When all threads are gone: everything holds what was last written, and goes without a trace.
    pub fn end_all(&self) {
        self.kernel.assert_sound();
        for frozen in self.frozen.lock().iter() {
            self.read_frozen(frozen);
        }
        for head in self.heads.lock().iter() {
            let size = head.disk.size();
            let start = self.clock.now();
            let tokens = self.tokens_of(&head.disk).expect("it can be read");
            let end = self.clock.now();
            for piece in (0..PIECES).filter(|piece| offset(*piece) < size) {
                self.expect(head, piece, tokens[piece], start, end);
            }
        }
        self.kernel.reclaim_all();
        self.kernel.assert_sound();
        let heads = std::mem::take(&mut *self.heads.lock());
        let frozen = std::mem::take(&mut *self.frozen.lock());
        heads.iter().for_each(|head| self.kernel.apply(Op::Drop(head.disk.version())));
        frozen.iter().for_each(|frozen| self.kernel.apply(Op::Drop(frozen.disk.version())));
        self.kernel.reclaim_all();
        self.kernel.assert_sound();
        let space = self.kernel.space().expect("space is counted");
        assert_eq!((space.used_blocks, space.pages, space.versions, space.metadata_bytes), (0, 0, 0, 0));
        assert_eq!(space.pending_blocks + space.unpunched_chunks + space.free_blocks, 0);
    }
}
