//! NBD: disks over sockets.

pub mod proto;
