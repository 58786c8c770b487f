//! NBD: disks over sockets, as doc/proto.md of the NBD project has it.
//!
//! [`proto`] has the protocol's numbers and bytes, [`stream`] and [`tls`] the connections below it. A [`server`] listens; each
//! connection is a `negotiation`, which ends with one of the [`exports`], and then a `session` of requests with its
//! `buffers`, its `outbox` of what the `pool` does for it, and its [`statistics`]. `contexts` are what block status
//! tells. The other side of all this is the [`client`].

mod buffers;
pub mod client;
#[cfg(feature = "python")]
pub(crate) mod client_python;
mod contexts;
pub mod exports;
pub mod lasting;
mod negotiation;
mod outbox;
mod pool;
pub mod proto;
#[cfg(feature = "python")]
pub mod python;
pub mod server;
mod session;
pub mod statistics;
pub mod stream;
pub mod tls;
