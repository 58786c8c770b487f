//! Random programmes of every operation, against a naive store.

mod support;

use support::programme::Programme;
use support::random::with_seeds;

#[test]
fn random_programmes_agree_with_the_naive_store() {
    with_seeds(20, |seed| Programme::new(seed).run(300));
}

#[test]
fn large_versions_are_taken_apart_in_steps() {
    with_seeds(4, |seed| Programme::new(seed).run_large());
}
