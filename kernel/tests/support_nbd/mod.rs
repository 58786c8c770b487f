//! A server on a store in memory, and a client that says whatever a test wants it to.
//!
//! No test uses all of it.

#![allow(dead_code, unused_imports)]

mod client;
mod serving;

pub use client::{Answer, Chat, Raw, go_data, queries_data};
pub use serving::{SIZE, Serving};
