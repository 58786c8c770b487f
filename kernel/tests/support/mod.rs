//! What the kernel's test suites share. Each suite is a crate of its own and uses a part.
#![allow(dead_code)]

pub mod arena;
pub mod compare;
pub mod faults;
pub mod fixture;
pub mod full;
pub mod gate;
pub mod history;
pub mod oracle;
pub mod oracle_ops;
pub mod programme;
pub mod random;
