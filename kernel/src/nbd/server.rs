//! Listening, connections and their limits, and the end.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use super::exports::{Export, Exports};
use super::negotiation::{Terms, negotiate};
use super::session::{End, Session, Shared};
use super::statistics::Statistics;
use super::stream::Socket;
use super::tls::ServerTls;
use crate::error::{Error, Result};
use crate::process::Home;

/// Memory for requests that wait for a medium, of all connections together.
const APART_BYTES: usize = 64 << 20;
/// Connections that the system holds for a listener.
const BACKLOG: i32 = 256;
/// Connections that are being agreed on; when there are more, the oldest has to go.
const HANDSHAKES: usize = 256;
/// Stack of a connection's thread, most of it never touched.
const STACK: usize = 1 << 20;
/// How long connections that were cut off are waited for.
const CUT_OFF: Duration = Duration::from_secs(5);

/// How a server bounds what clients can ask of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// How long a client may take to choose an export.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: 1024, handshake: Duration::from_secs(10) }
    }
}

/// TLS on a listener.
#[derive(Clone, Default)]
pub struct Encryption {
    /// The server's certificate.
    pub tls: Option<ServerTls>,
    /// Whether those that do not encrypt are turned away.
    pub required: bool,
}

/// A connection, for people.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Never used twice.
    pub id: u64,
    /// Who it is.
    pub peer: String,
    /// The export's label; empty during the handshake.
    pub label: String,
    /// When it came.
    pub since: SystemTime,
    /// Whether it is encrypted.
    pub tls: bool,
}

struct Connection {
    socket: Socket,
    info: ConnectionInfo,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is being agreed on.
    Shaking,
    /// It has an export.
    Agreed,
    /// It had to make room while it was being agreed on.
    CutOff,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A running server.
pub struct Server {
    home: Home,
    inner: Arc<Inner>,
    /// What ends the accepting at each listener when it is dropped. The listeners themselves are never shut down: one
    /// that was handed over may be another process's too, which goes on with it.
    listeners: Mutex<Vec<UnixStream>>,
}

struct Inner {
    exports: Arc<dyn Exports>,
    limits: Limits,
    shared: Shared,
    statistics: Statistics,
    connections: Mutex<Connections>,
    gone: Condvar,
    last_id: AtomicU64,
}

#[derive(Default)]
struct Connections {
    live: BTreeMap<u64, Connection>,
    stopping: bool,
    /// Threads that accept.
    accepting: usize,
}

impl Server {
    /// A server that listens nowhere yet.
    pub fn new(exports: Arc<dyn Exports>, limits: Limits) -> Server {
        let inner = Inner {
            exports,
            limits,
            shared: Shared::new(APART_BYTES),
            statistics: Statistics::default(),
            connections: Mutex::default(),
            gone: Condvar::new(),
            last_id: AtomicU64::new(0),
        };
        Server { home: Home::here(), inner: Arc::new(inner), listeners: Mutex::default() }
    }

    /// Listen at a path that is not there yet, open to those whom `mode` lets in.
    pub fn listen_unix(&self, path: &Path, mode: u32) -> Result<()> {
        let io = |e| Error::io(format_args!("listening at {}", path.display()), &io::Error::from(e));
        let address = SocketAddrUnix::new(path.as_os_str().as_bytes()).map_err(io)?;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(io)?;
        // Before it has a name: no one comes in meanwhile.
        fchmod(&socket, Mode::from_raw_mode(mode)).map_err(io)?;
        bind(&socket, &address).map_err(io)?;
        listen(&socket, BACKLOG).map_err(io)?;
        self.start(Listener::Unix(socket.into()), Encryption::default())
    }

    /// Listen at an address; the port that it is (one that is free, for port 0).
    pub fn listen_tcp(&self, host: &str, port: u16, encryption: Encryption) -> Result<u16> {
        let io = |e| Error::io(format_args!("listening at {host} port {port}"), &e);
        let mut bound = port;
        for address in (host, port).to_socket_addrs().map_err(io)? {
            let listener = TcpListener::bind(address).map_err(io)?;
            bound = listener.local_addr().map_err(io)?.port();
            self.start(Listener::Tcp(listener), encryption.clone())?;
            if port == 0 {
                break;
            }
        }
        Ok(bound)
    }

    /// Accept at a socket that listens already, of either kind.
    pub fn listen_fd(&self, fd: OwnedFd, encryption: Encryption) -> Result<()> {
        let io = |e| Error::io("taking over a socket", &io::Error::from(e));
        let family = rustix::net::sockopt::socket_domain(&fd).map_err(io)?;
        if !rustix::net::sockopt::socket_acceptconn(&fd).map_err(io)? {
            return Err(Error::invalid("the socket that was handed over does not listen"));
        }
        let listener = match family {
            AddressFamily::UNIX => Listener::Unix(fd.into()),
            AddressFamily::INET | AddressFamily::INET6 => Listener::Tcp(fd.into()),
            _ => {
                return Err(Error::invalid(
                    "the socket that was handed over is of no kind that NBD goes over",
                ));
            }
        };
        self.start(listener, encryption)
    }

    fn start(&self, listener: Listener, encryption: Encryption) -> Result<()> {
        let io = |e| Error::io("starting to listen", &e);
        let (ending, ended) = UnixStream::pair().map_err(io)?;
        listener.set_nonblocking().map_err(io)?;
        let inner = self.inner.clone();
        // Under the lock, so that a stop either sees the listener or prevents it.
        let mut listeners = self.listeners.lock();
        {
            let mut connections = inner.connections.lock();
            if connections.stopping {
                return Err(Error::new(crate::error::Kind::Closed, "the server is stopping"));
            }
            connections.accepting += 1;
        }
        let accept = {
            let inner = inner.clone();
            move || {
                inner.accept(&listener, &ended, &encryption);
                drop(listener);
                inner.connections.lock().accepting -= 1;
                inner.gone.notify_all();
            }
        };
        if let Err(error) = thread("cowshed-nbd").spawn(accept) {
            inner.connections.lock().accepting -= 1;
            return Err(io(error));
        }
        listeners.push(ending);
        Ok(())
    }

    /// Who is connected.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.inner.connections.lock().live.values().map(|connection| connection.info.clone()).collect()
    }

    /// How many requests there were, and how long they took.
    pub fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// Cut a connection off; false if it is gone.
    pub fn disconnect(&self, id: u64) -> bool {
        match self.inner.connections.lock().live.get(&id) {
            Some(connection) => {
                // It may end by itself at this moment.
                let _ = connection.socket.shutdown(Shutdown::Both);
                true
            }
            None => false,
        }
    }

    /// Take no more connections or requests, answer those that came, and return when all is over; what is not over after
    /// `drain` is cut off. Whether nothing had to be. A fork has nothing to stop.
    pub fn stop(&self, drain: Duration) -> bool {
        if !self.home.is_here() {
            return true;
        }
        let mut connections = self.inner.connections.lock();
        connections.stopping = true;
        drop(connections);
        self.listeners.lock().clear();
        connections = self.inner.connections.lock();
        for connection in connections.live.values() {
            let how = if connection.state == State::Agreed { Shutdown::Read } else { Shutdown::Both };
            let _ = connection.socket.shutdown(how);
        }
        let deadline = Instant::now() + drain;
        if self.inner.wait_until_over(&mut connections, deadline) {
            return true;
        }
        for connection in connections.live.values() {
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        self.inner.wait_until_over(&mut connections, Instant::now() + CUT_OFF);
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Listener::Unix(listener) => listener.as_fd(),
            Listener::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Accepting does not wait: a connection may be gone, or another process's, when it is looked for.
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Unix(listener) => listener.set_nonblocking(true),
            Listener::Tcp(listener) => listener.set_nonblocking(true),
        }
    }

    /// The next connection, and who it is.
    fn accept(&self) -> io::Result<(Socket, String)> {
        match self {
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                let peer = match rustix::net::sockopt::socket_peercred(&socket) {
                    Ok(who) => format!("pid {} uid {}", who.pid.as_raw_pid(), who.uid.as_raw()),
                    Err(_) => "a local process".into(),
                };
                Ok((Socket::Unix(socket), peer))
            }
            Listener::Tcp(listener) => {
                let (socket, address) = listener.accept()?;
                Ok((Socket::Tcp(socket), address.to_string()))
            }
        }
    }
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into()).stack_size(STACK)
}

impl Inner {
    /// Whether all threads ended before the deadline.
    fn wait_until_over(
        &self,
        connections: &mut parking_lot::MutexGuard<'_, Connections>,
        deadline: Instant,
    ) -> bool {
        while !connections.live.is_empty() || connections.accepting > 0 {
            if self.gone.wait_until(connections, deadline).timed_out() {
                return connections.live.is_empty() && connections.accepting == 0;
            }
        }
        true
    }

    /// Until the other end of `ended` is dropped.
    fn accept(self: &Arc<Inner>, listener: &Listener, ended: &UnixStream, encryption: &Encryption) {
        loop {
            let mut waiting = [PollFd::new(listener, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
            // Interrupted, or without memory: the accepting below finds out.
            let _ = poll(&mut waiting, None);
            if self.connections.lock().stopping {
                return;
            }
            let accepted = listener.accept();
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer, encryption),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // No descriptor or no memory: others may give some back.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Give a connection a thread, if there is room for it.
    fn admit(self: &Arc<Inner>, socket: Socket, peer: String, encryption: &Encryption) {
        let Ok(handle) = socket.prepare().and_then(|()| socket.try_clone()) else { return };
        let id = self.last_id.fetch_add(1, SeqCst) + 1;
        let info = ConnectionInfo { id, peer, label: String::new(), since: SystemTime::now(), tls: false };
        {
            let mut connections = self.connections.lock();
            // Those that were cut off only have to notice it.
            let counted = connections.live.values().filter(|c| c.state != State::CutOff).count();
            let shaking = || connections.live.values().filter(|c| c.state == State::Shaking);
            if shaking().count() >= HANDSHAKES || counted >= self.limits.connections {
                // Those that have not agreed on anything make room for those that may, the oldest first.
                let oldest = shaking().next().map(|connection| connection.info.id);
                let Some(oldest) = oldest.and_then(|id| connections.live.get_mut(&id)) else { return };
                oldest.state = State::CutOff;
                let _ = oldest.socket.shutdown(Shutdown::Both);
            }
            let connection = Connection { socket: handle, info, state: State::Shaking };
            connections.live.insert(id, connection);
        }
        let (inner, encryption) = (self.clone(), encryption.clone());
        let serve = move || {
            inner.serve(id, socket, &encryption);
            inner.connections.lock().live.remove(&id);
            inner.gone.notify_all();
        };
        if thread("cowshed-nbd").spawn(serve).is_err() {
            self.connections.lock().live.remove(&id);
        }
    }

    fn serve(&self, id: u64, socket: Socket, encryption: &Encryption) {
        let peer = match self.connections.lock().live.get(&id) {
            Some(connection) => connection.info.peer.clone(),
            None => return,
        };
        // From then on it is not cut off in favour of others.
        let agreed = |export: &Export, tls: bool| {
            if let Some(connection) = self.connections.lock().live.get_mut(&id) {
                connection.state = State::Agreed;
                connection.info.label = export.label.clone();
                connection.info.tls = tls;
            }
        };
        let terms = Terms {
            exports: &*self.exports,
            tls: encryption.tls.as_ref(),
            tls_required: encryption.required,
            timeout: self.limits.handshake,
            peer: &peer,
            agreed: &agreed,
        };
        // Whoever broke off the handshake knows why.
        let Ok(Some(agreed)) = negotiate(socket, &terms) else { return };
        let draining = self.connections.lock().stopping;
        let mut fault = None;
        if !draining {
            let counts = self.statistics.of(&agreed.export.label);
            if let Ok(mut session) = Session::new(&agreed, &self.shared, id, counts) {
                fault = match session.run() {
                    End::Closed => None,
                    End::Violation(what) => Some(what),
                };
            }
        }
        agreed.stream.close();
        self.exports.close(&agreed.export, fault);
    }
}
