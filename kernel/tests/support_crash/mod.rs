//! Crashes: programmes of kernel calls over recorded storage, an oracle beside them, and every state that a crash
//! could have left, reopened and compared.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod crashes;
pub mod hooks;
pub mod mutate;
pub mod oracle;
pub mod programme;
pub mod redb_files;
pub mod rng;
pub mod run;
pub mod verify;
