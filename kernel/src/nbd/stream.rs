//! A connection's bytes, plain or encrypted. All calls take `&self`: one thread may read while another writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::tls::Tls;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// On this machine.
    Unix(UnixStream),
    /// Through the network.
    Tcp(TcpStream),
}

/// A connection.
pub enum Stream {
    /// As it is.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<Tls>),
}

impl Socket {
    /// Connect to a server on this machine.
    pub fn connect_unix(path: &Path) -> io::Result<Socket> {
        UnixStream::connect(path).map(Socket::Unix)
    }

    /// Connect to a server by name or address; each of its addresses is given what is left of the time.
    pub fn connect_tcp(host: &str, port: u16, timeout: Duration) -> io::Result<Socket> {
        let deadline = Instant::now() + timeout;
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in (host, port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => {
                    let socket = Socket::Tcp(socket);
                    socket.prepare()?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Small messages go at once, and a peer that is gone is found out.
    pub fn prepare(&self) -> io::Result<()> {
        if let Socket::Tcp(socket) = self {
            socket.set_nodelay(true)?;
            rustix::net::sockopt::set_socket_keepalive(socket, true)?;
        }
        Ok(())
    }

    /// How long one read and one write may wait; `None`: as long as it takes.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        // Zero would mean no limit.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        match self {
            Socket::Unix(s) => s.set_read_timeout(timeout).and_then(|()| s.set_write_timeout(timeout)),
            Socket::Tcp(s) => s.set_read_timeout(timeout).and_then(|()| s.set_write_timeout(timeout)),
        }
    }

    /// End reading, writing or both, for every thread that uses it.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Unix(s) => s.shutdown(how),
            Socket::Tcp(s) => s.shutdown(how),
        }
    }

    /// Another handle on the same socket.
    pub fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Unix(s) => Socket::Unix(s.try_clone()?),
            Socket::Tcp(s) => Socket::Tcp(s.try_clone()?),
        })
    }

    /// Read some bytes; none at the end.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let done = match self {
                Socket::Unix(s) => (&mut &*s).read(buf),
                Socket::Tcp(s) => (&mut &*s).read(buf),
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A peer that is gone has nothing more to say.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                other => return other,
            }
        }
    }

    /// Read what is there already: nothing (`None`), some bytes, or none at the end.
    pub fn read_at_once(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::net::recv(self, buf, rustix::net::RecvFlags::DONTWAIT) {
            Ok((_, n)) => Ok(Some(n)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(rustix::io::Errno::CONNRESET) => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    /// Write all bytes.
    pub fn write_all(&self, data: &[u8]) -> io::Result<()> {
        match self {
            Socket::Unix(s) => (&mut &*s).write_all(data),
            Socket::Tcp(s) => (&mut &*s).write_all(data),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(s) => s.as_fd(),
            Socket::Tcp(s) => s.as_fd(),
        }
    }
}

impl Stream {
    /// The socket below.
    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.socket(),
        }
    }

    /// Read some bytes; none at the end.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buf),
            Stream::Tls(tls) => tls.read(buf),
        }
    }

    /// Fill `buf`; `UnexpectedEof` where the other side ends before.
    pub fn read_exact(&self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read(buf)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => buf = &mut buf[n..],
            }
        }
        Ok(())
    }

    /// Write all bytes.
    pub fn write_all(&self, data: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.write_all(data),
            Stream::Tls(tls) => tls.write_all(data),
        }
    }

    /// Whether a read finds bytes that the socket has no more: waiting for the socket would be in vain.
    pub fn has_buffered(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.has_buffered(),
        }
    }

    /// Say goodbye where the transport has a word for it.
    pub fn close(&self) {
        if let Stream::Tls(tls) = self {
            tls.close();
        }
        // Whether the other side is still there to be told does not matter.
        let _ = self.socket().shutdown(Shutdown::Both);
    }
}
