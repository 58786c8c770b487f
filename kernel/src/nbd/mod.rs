//! NBD: disks over sockets.

pub mod proto;
pub mod stream;
pub mod tls;
