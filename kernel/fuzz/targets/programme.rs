//! Bytes as a programme of calls, run beside the crash suite's oracle, and crashed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support_crash::crashes::{ALL_FATES, Plan, crash_all};
use support_crash::programme::go_on;
use support_crash::rng::Rng;
use support_crash::run::Run;

#[path = "../../tests/support_crash/mod.rs"]
mod support_crash;

fuzz_target!(|data: &[u8]| {
    let mut rng = Rng::steered(data);
    let mut run = Run::new();
    // A call takes some ten choices of two bytes.
    go_on(&mut run, &mut rng, (data.len() / 20).min(50));
    run.settle();
    let plan = Plan { from_step: 0, places: 4, fates: &ALL_FATES, of_fates: 1, go_on: 0 };
    crash_all(&run, &mut rng, &plan);
});
