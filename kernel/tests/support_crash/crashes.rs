//! Which crashes are tried: at which calls, and what becomes of those that were not synced.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use cowshed_kernel::storage::{Fate, MemoryStorage};

use super::oracle::World;
use super::rng::Rng;
use super::run::{BLOCKS, Run, Step};
use super::verify::verify;

/// What becomes of a file's calls that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Policy {
    Lost,
    Done,
    /// Any of them, each wholly.
    Some,
    /// Any of them, and any sectors of them.
    Torn,
}

use Policy::{Done, Lost, Some as Any, Torn};

/// Of blocks and of catalog.
pub type Fates = (Policy, Policy);

/// Each file by itself keeps all, nothing or something.
pub const ALL_FATES: [Fates; 9] = [
    (Lost, Lost),
    (Done, Done),
    (Lost, Done),
    (Done, Lost),
    (Any, Any),
    (Lost, Any),
    (Any, Done),
    (Torn, Torn),
    (Torn, Done),
];

/// The fates that make no use of chance.
pub const PLAIN_FATES: [Fates; 4] = [(Lost, Lost), (Done, Done), (Lost, Done), (Done, Lost)];

/// One crash.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "told when a test fails")]
pub struct Crash {
    /// Behind so many calls.
    pub at: usize,
    pub fates: Fates,
    pub seed: u64,
}

/// How much is tried.
pub struct Plan<'a> {
    /// The first step to crash in; those before it were crashed before.
    pub from_step: usize,
    /// Crash at no more places than this; all of them if there are fewer.
    pub places: usize,
    /// From these, so many at each place.
    pub fates: &'a [Fates],
    pub of_fates: usize,
    /// How many of the stores that were left are worked on and crashed again.
    pub go_on: usize,
}

/// Crashes tried so far in this process.
pub static TRIED: AtomicU64 = AtomicU64::new(0);

/// A store that survived a crash: its files, and what it holds.
pub struct Left {
    pub files: Vec<MemoryStorage>,
    pub world: World,
}

/// What the steps say of a crash behind `at` calls: the last step that was begun, and what may be found.
fn expected(steps: &[Step], at: usize) -> (usize, &[World]) {
    let begun = steps.iter().rposition(|step| step.from < at || step.to <= at);
    let last = begun.unwrap_or(0);
    let step = &steps[last];
    if step.to <= at { (last, std::slice::from_ref(&step.after)) } else { (last, &step.during) }
}

/// Crash a run in many ways; some of what was left, to go on with.
pub fn crash_all(run: &Run, rng: &mut Rng, plan: &Plan) -> Vec<Left> {
    let calls = run.recorder.len();
    let mut left = Vec::new();
    let mut tried = 0;
    let mut seen = HashSet::new();
    let mut replay = run.recorder.replay();
    let places = places(run, rng, plan);
    let keep: HashSet<usize> = (0..plan.go_on).filter_map(|_| rng.pick(&places).copied()).collect();
    for at in places {
        assert!(at <= calls);
        replay.advance(at);
        let pending = [replay.pending(0), replay.pending(1)];
        let first = rng.below(plan.fates.len() as u64) as usize;
        for k in 0..plan.of_fates {
            let fates = plan.fates[(first + k) % plan.fates.len()];
            let (step, worlds) = expected(&run.steps, at);
            // The same state, of which the same is expected, needs no second look.
            let policy = |n: usize, policy| if n == 0 { Done } else { policy };
            let which = (policy(pending[0], fates.0), policy(pending[1], fates.1));
            let state = [(which.0, 0), (which.1, 1)].map(|(policy, file)| match policy {
                Lost => (Lost, 0, file),
                policy => (policy, at, file),
            });
            let durable = run.recorder.syncs().iter().filter(|sync| **sync <= at).count();
            if !seen.insert((step, run.steps[step].to <= at, durable, state)) {
                continue;
            }
            tried += 1;
            let crash = Crash { at, fates, seed: rng.next() };
            let files = replay.crash(chance(crash));
            let again = keep.contains(&at) && k == 0;
            let copies = again.then(|| files.iter().map(MemoryStorage::copy).collect());
            match verify(files, worlds, fates.0 == Torn) {
                Ok(world) => left.extend(copies.map(|files| Left { files, world })),
                Err(why) => panic!("after {crash:?} of {calls} calls:\n{why}\nin:\n{}", run.story(step)),
            }
        }
    }
    TRIED.fetch_add(tried, Ordering::Relaxed);
    left
}

/// Where to crash: at and before every sync, and anywhere else.
fn places(run: &Run, rng: &mut Rng, plan: &Plan) -> Vec<usize> {
    let (from, calls) = (run.steps[plan.from_step].from, run.recorder.len());
    if calls - from < plan.places {
        return (from..=calls).collect();
    }
    let anywhere = |rng: &mut Rng| from + rng.below((calls - from) as u64 + 1) as usize;
    let mut places: HashSet<usize> = (0..plan.places / 2).map(|_| anywhere(rng)).collect();
    let mut syncs = run.recorder.syncs();
    syncs.retain(|sync| *sync > from);
    while places.len() < plan.places {
        let sync = *rng.pick(&syncs).expect("whoever does this much syncs");
        let near = [sync - 1, sync, sync + 1];
        places.insert((*rng.pick(&near).unwrap()).min(calls));
        if rng.once_in(20) {
            // There may be no more of them.
            places.insert(anywhere(rng));
        }
    }
    let mut places: Vec<usize> = places.into_iter().collect();
    places.sort_unstable();
    places
}

/// The fate of each call that was not synced, by file.
fn chance(crash: Crash) -> impl FnMut(usize) -> Fate {
    let mut rng = Rng::new(crash.seed);
    move |file| {
        let policy = if file == BLOCKS { crash.fates.0 } else { crash.fates.1 };
        match policy {
            Lost => Fate::Lost,
            Done => Fate::Done,
            Any => [Fate::Lost, Fate::Done][rng.below(2) as usize],
            Torn => [Fate::Lost, Fate::Done, Fate::Torn(rng.next())][rng.below(3) as usize],
        }
    }
}
