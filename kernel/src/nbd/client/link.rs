//! The way to a server: its address, a socket connected to it, and what is said when there is none.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::error::{Error, Kind, Result};
use crate::nbd::stream::Socket;

/// A silent host is asked for a sign of life after this time, and thrice more, before it counts as gone.
const SILENCE: Duration = Duration::from_secs(30);
const SILENCE_AGAIN: Duration = Duration::from_secs(10);
/// Sent and not acknowledged for this long: the host counts as gone.
const UNACKNOWLEDGED_MS: u32 = 60_000;
/// What a Unix socket's path may have, without the NUL at its end.
const MAX_UNIX_PATH: usize = 107;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `tcp:HOST:PORT`
    Tcp(String, u16),
}

impl Address {
    /// Read `unix:PATH` or `tcp:HOST:PORT`; an IPv6 address may stand in brackets.
    pub fn parse(text: &str) -> Result<Address> {
        let wrong = || Error::invalid(format!("no address: {text:?}; write unix:PATH or tcp:HOST:PORT"));
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Address::Unix(PathBuf::from(path))),
            Some(("tcp", place)) => {
                let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
                if bare.is_empty() { Err(wrong()) } else { Ok(Address::Tcp(bare.to_string(), port)) }
            }
            _ => Err(wrong()),
        }
    }
}

/// When connecting must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
}

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Deadline {
        // A deadline beyond what the clock can say is a deadline in a year.
        let now = Instant::now();
        Deadline { end: now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 86_400)) }
    }

    /// What is left, never nothing.
    pub fn left(self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// Connect before the deadline.
pub fn connect(address: &Address, deadline: Deadline) -> io::Result<Socket> {
    match address {
        Address::Unix(path) => connect_unix(path, deadline).map(Socket::Unix),
        Address::Tcp(host, port) => {
            let socket = Socket::connect_tcp(host, *port, deadline.left()?)?;
            sockopt::set_tcp_keepidle(&socket, SILENCE)?;
            sockopt::set_tcp_keepintvl(&socket, SILENCE_AGAIN)?;
            sockopt::set_tcp_keepcnt(&socket, 3)?;
            sockopt::set_tcp_user_timeout(&socket, UNACKNOWLEDGED_MS)?;
            Ok(socket)
        }
    }
}

fn connect_unix(path: &Path, deadline: Deadline) -> io::Result<UnixStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A listener whose queue is full keeps whoever connects waiting, for as long as it would wait to write.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(deadline.left()?))?;
    if path.as_os_str().as_bytes().len() <= MAX_UNIX_PATH {
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    } else {
        // Too long for a socket's address: through its directory, by a name that /proc gives it.
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory =
            rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        rustix::net::connect(&socket, &SocketAddrUnix::new(&short)?)?;
    }
    Ok(UnixStream::from(socket))
}

/// Connecting to `peer` failed: nobody there is `missing`, all else is `io`.
pub fn unreachable(peer: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::new(Kind::Missing, format!("no NBD server answers at {peer}: {error}"))
        }
        // A socket's timeout shows as WouldBlock.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Error::new(Kind::Io, format!("no answer from the NBD server at {peer} in time"))
        }
        _ => Error::io(format!("cannot reach the NBD server at {peer}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(Address::parse("unix:/a:b"), Ok(Address::Unix("/a:b".into())));
        assert_eq!(Address::parse("tcp:host:10809"), Ok(Address::Tcp("host".into(), 10809)));
        assert_eq!(Address::parse("tcp:[::1]:7"), Ok(Address::Tcp("::1".into(), 7)));
        assert_eq!(Address::parse("tcp:::1:7"), Ok(Address::Tcp("::1".into(), 7)));
        for wrong in ["", "unix:", "tcp:", "tcp:host", "tcp::7", "tcp:h:0", "tcp:h:70000", "/path", "nbd://h"]
        {
            assert_eq!(Address::parse(wrong).unwrap_err().kind, Kind::Invalid, "{wrong}");
        }
    }
}
