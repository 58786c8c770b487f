//! One connection, used by any number of threads at once, with no thread of its own.
//!
//! A call sends its requests under the lock of the sending half, and waits. One of those who wait is the *leader*: it
//! has taken the receiving half, and reads replies, its own and the others', until its own call is complete; then it puts
//! the half back and wakes another. These rules carry it:
//!
//! 1. Only the leader ends calls, and a call returns only when it was ended. So no one reads into the memory of
//!    a caller who has gone. Whoever finds the connection broken while sending hangs up, and leaves the rest to
//!    the leader, who finds the end.
//! 2. Replies are read while requests are sent, for a server may take none before its replies are gone. The requests
//!    of a call's reads go out in one small batch, so the thread behind every read in flight waits, and one of those
//!    who wait leads. No one leads who is sending. Where no one waits, because all are in the midst of long writes,
//!    whoever is about to send looks first whether replies have come, and reads them.
//! 3. A fork has the same socket, and must leave it alone: it sends nothing, reads nothing, and when it lets go of the
//!    connection, closes its descriptor only. It takes no lock, for no one may be there to let it go.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::net::Shutdown;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::{self, Thread};

use parking_lot::{Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::coverage::Coverage;
use super::handshake::{Dialect, Export};
use super::replies::{Broken, Destination, Head, Pending};
use crate::error::{Error, Kind, Result};
use crate::nbd::proto::{Request, command, command::flag};
use crate::nbd::stream::Stream;
use crate::process::Home;

/// Heads of replies, and the data of short ones, are read with one system call; the data of long ones goes past this
/// buffer, to its place.
const BUFFER: usize = 16 << 10;
/// Data as short as this is sent with its header by one system call.
const SHORT: usize = 16 << 10;
/// The most pieces of one call that are in flight.
pub const BATCH: usize = 32;

/// One request of a call.
#[derive(Debug)]
pub struct Piece<'a> {
    /// [`command`].
    pub command: u16,
    /// [`flag`].
    pub flags: u16,
    /// Bytes.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// What goes with it, or comes back.
    pub payload: Payload<'a>,
}

/// What a request carries.
#[derive(Debug)]
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// Data to write: `length` bytes.
    Send(&'a [u8]),
    /// Where to read to: `length` bytes.
    Fill(&'a mut [u8]),
    /// The number of the context whose block status is asked for.
    Status(u32),
}

/// The receiving half.
type Receiver = BufReader<Incoming>;

struct Incoming(Arc<Stream>);

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A call that waits, or will when it has sent its requests.
#[derive(Debug, Default)]
struct Call {
    /// Its pieces without a complete reply.
    open: usize,
    error: Option<Error>,
    extents: Vec<(u64, u64)>,
    /// Asleep until it is ended or is to lead.
    sleeper: Option<Thread>,
}

struct Table {
    /// `None` while someone leads.
    receiver: Option<Receiver>,
    pending: HashMap<u64, Pending>,
    calls: HashMap<u64, Call>,
    /// The last call's number, and the last request's cookie; none is used twice.
    last: u64,
    /// Why no call can be made any more.
    over: Option<Error>,
}

/// A connection in transmission.
pub struct Connection {
    /// What was agreed on.
    pub export: Export,
    home: Home,
    peer: String,
    stream: Arc<Stream>,
    /// Held from the first to the last byte of a request, or of a batch of them.
    sending: Mutex<()>,
    table: Mutex<Table>,
}

/// A call whose requests are on their way. It is ended before this goes, come what may: its memory is lent.
struct Ticket<'a> {
    connection: &'a Connection,
    call: Option<u64>,
}

impl Ticket<'_> {
    fn wait(mut self) -> Result<Vec<(u64, u64)>> {
        let call = self.call.take().expect("waits once");
        self.connection.wait(call)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.connection.hang_up();
            let _ = self.connection.wait(call);
        }
    }
}

impl Connection {
    /// Take over a stream whose handshake is done.
    pub fn new(stream: Stream, export: Export, peer: String) -> Connection {
        let stream = Arc::new(stream);
        let table = Table {
            receiver: Some(BufReader::with_capacity(BUFFER, Incoming(stream.clone()))),
            pending: HashMap::new(),
            calls: HashMap::new(),
            last: 0,
            over: None,
        };
        Connection {
            export,
            home: Home::here(),
            peer,
            stream,
            sending: Mutex::new(()),
            table: Mutex::new(table),
        }
    }

    /// Whether calls can still be made.
    pub fn usable(&self) -> bool {
        self.check_usable().is_ok()
    }

    /// Why no call can be made any more, if so.
    pub fn check_usable(&self) -> Result<()> {
        self.check_home()?;
        self.table.lock().over.clone().map_or(Ok(()), Err)
    }

    /// Refuse all of it in a fork.
    pub fn check_home(&self) -> Result<()> {
        self.home.check(format_args!("the connection to {}", self.peer))
    }

    /// Do all that the pieces say, in no order; returns what block status was told. When several fail, one of the
    /// errors is told.
    pub fn run<'a>(&self, pieces: impl Iterator<Item = Piece<'a>>) -> Result<Vec<(u64, u64)>> {
        let mut pieces = pieces.peekable();
        let mut extents = Vec::new();
        while pieces.peek().is_some() {
            extents = self.batch(pieces.by_ref().take(BATCH).collect())?;
        }
        Ok(extents)
    }

    /// Say goodbye and end the connection. Calls in flight fail, and so does every later one. In a fork, nothing
    /// happens.
    pub fn close(&self) {
        if !self.home.is_here() {
            return;
        }
        let quiet = {
            let mut table = self.table.lock();
            if table.over.is_some() {
                return;
            }
            table.over =
                Some(Error::new(Kind::Closed, format!("the connection to {} was closed", self.peer)));
            table.calls.is_empty()
        };
        if quiet && let Some(_sending) = self.sending.try_lock() {
            let goodbye = Request { flags: 0, command: command::DISCONNECT, cookie: 0, offset: 0, length: 0 };
            let mut bytes = Vec::new();
            goodbye.write(&mut bytes, self.extended());
            // A server that does not take it has gone already.
            let _ = self.stream.write_all(&bytes);
            self.stream.close();
        }
        self.hang_up();
    }

    /// End the stream: whoever reads finds its end, whoever writes fails.
    fn hang_up(&self) {
        // It fails only where the other side has ended it already.
        let _ = self.stream.socket().shutdown(Shutdown::Both);
    }

    fn extended(&self) -> bool {
        self.export.dialect == Dialect::Extended
    }

    fn batch(&self, mut pieces: Vec<Piece<'_>>) -> Result<Vec<(u64, u64)>> {
        let (ticket, headers) = self.register(&mut pieces)?;
        if let Err(error) = self.send(&pieces, headers) {
            let error = self.lost(&error);
            self.table.lock().over.get_or_insert(error);
            self.hang_up();
        }
        ticket.wait()
    }

    /// Enter a call with these pieces; returns the bytes of their requests' headers, too.
    fn register(&self, pieces: &mut [Piece<'_>]) -> Result<(Ticket<'_>, Vec<u8>)> {
        self.check_home()?;
        let extended = self.extended();
        let mut headers = Vec::with_capacity(pieces.len() * Request::header_len(extended));
        let mut table = self.table.lock();
        if let Some(error) = &table.over {
            return Err(error.clone());
        }
        table.last += 1;
        let call = table.last;
        table.calls.insert(call, Call { open: pieces.len(), ..Call::default() });
        for piece in pieces {
            table.last += 1;
            let cookie = table.last;
            let &mut Piece { mut flags, command, offset, length, .. } = piece;
            let (mut destination, mut context) = (None, None);
            match &mut piece.payload {
                Payload::None => {}
                Payload::Send(data) => {
                    debug_assert_eq!(data.len() as u64, length);
                    flags |= if extended { flag::PAYLOAD_LEN } else { 0 };
                }
                Payload::Fill(buffer) => {
                    assert_eq!(buffer.len() as u64, length, "replies are checked against the length alone");
                    destination = NonNull::new(buffer.as_mut_ptr()).map(Destination);
                }
                Payload::Status(id) => context = Some(*id),
            }
            let pending = Pending {
                call,
                command,
                offset,
                length,
                destination,
                context,
                coverage: Coverage::default(),
                error: None,
                extents: Vec::new(),
            };
            table.pending.insert(cookie, pending);
            Request { flags, command, cookie, offset, length }.write(&mut headers, extended);
        }
        Ok((Ticket { connection: self, call: Some(call) }, headers))
    }

    /// Requests without data go out in one batch; others may send between the pieces of a long write.
    fn send(&self, pieces: &[Piece<'_>], mut headers: Vec<u8>) -> io::Result<()> {
        match pieces {
            [Piece { payload: Payload::Send(data), .. }] if data.len() <= SHORT => {
                headers.extend_from_slice(data);
            }
            [Piece { payload: Payload::Send(_), .. }, ..] => {
                let headers = headers.chunks_exact(Request::header_len(self.extended()));
                for (i, (piece, header)) in pieces.iter().zip(headers).enumerate() {
                    let _sending = self.sending.lock();
                    self.read_what_has_come(pieces.len() - i);
                    self.stream.write_all(header)?;
                    if let Payload::Send(data) = piece.payload {
                        self.stream.write_all(data)?;
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        let _sending = self.sending.lock();
        self.read_what_has_come(pieces.len());
        self.stream.write_all(&headers)
    }

    /// Wait until the call is ended, as leader or asleep, and take its outcome.
    fn wait(&self, call: u64) -> Result<Vec<(u64, u64)>> {
        let mut table = self.table.lock();
        loop {
            let Table { receiver, calls, .. } = &mut *table;
            let state = calls.get_mut(&call).expect("only its own thread removes a call");
            if state.open == 0 {
                let outcome = calls.remove(&call).expect("looked at");
                let next = table.next_leader();
                drop(table);
                if let Some(sleeper) = next {
                    sleeper.unpark();
                }
                return outcome.error.map_or(Ok(outcome.extents), Err);
            }
            match receiver.take() {
                Some(mut receiver) => {
                    MutexGuard::unlocked(&mut table, || self.lead(&mut receiver, call));
                    table.receiver = Some(receiver);
                }
                None => {
                    state.sleeper = Some(thread::current());
                    MutexGuard::unlocked(&mut table, thread::park);
                }
            }
        }
    }

    /// Read the replies that are there, if no one else does; not waiting for any. `unsent`: how many requests that are
    /// entered have not been sent.
    fn read_what_has_come(&self, unsent: usize) {
        let mut receiver = {
            let mut table = self.table.lock();
            match table.receiver.take() {
                Some(receiver) if table.pending.len() > unsent => receiver,
                other => return table.receiver = other,
            }
        };
        while !receiver.buffer().is_empty() || self.has_come() {
            if let Err(broken) = self.reply(&mut receiver) {
                self.fail(&broken);
                break;
            }
        }
        let next = {
            let mut table = self.table.lock();
            table.receiver = Some(receiver);
            table.next_leader()
        };
        if let Some(sleeper) = next {
            sleeper.unpark();
        }
    }

    /// Whether reading the stream would find something, were it the end.
    fn has_come(&self) -> bool {
        let mut sockets = [PollFd::new(self.stream.socket(), PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.stream.has_buffered() || poll(&mut sockets, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }

    /// Read replies until the call is ended.
    fn lead(&self, receiver: &mut Receiver, call: u64) {
        loop {
            match self.reply(receiver) {
                Ok(ended) if ended == Some(call) => return,
                Ok(_) => {}
                Err(broken) => return self.fail(&broken),
            }
        }
    }

    /// Read one reply, or one chunk of one; returns the call that it ended.
    fn reply(&self, receiver: &mut Receiver) -> std::result::Result<Option<u64>, Broken> {
        let dialect = self.export.dialect;
        let head = Head::read(receiver, dialect)?;
        let Some(mut pending) = self.table.lock().pending.remove(&head.cookie()) else {
            return Err(Broken::Violation("a reply to what was not requested".to_string()));
        };
        let done = pending.take(head, receiver, dialect)?;
        let mut table = self.table.lock();
        if !done {
            table.pending.insert(head.cookie(), pending);
            return Ok(None);
        }
        let number = pending.call;
        let call = table.calls.get_mut(&number).expect("a call stays while it has open pieces");
        call.open -= 1;
        call.error = call.error.take().or(pending.error);
        if !pending.extents.is_empty() {
            call.extents = pending.extents;
        }
        if call.open > 0 {
            return Ok(None);
        }
        let sleeper = call.sleeper.take();
        drop(table);
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
        }
        Ok(Some(number))
    }

    /// End all calls, those to come too. Only the leader may.
    fn fail(&self, broken: &Broken) {
        self.hang_up();
        let error = match broken {
            Broken::Lost(error) => self.lost(error),
            Broken::Violation(what) => {
                let peer = &self.peer;
                Error::new(Kind::Io, format!("the NBD server at {peer} breaks the protocol: it sent {what}"))
            }
        };
        let mut table = self.table.lock();
        let error = table.over.get_or_insert(error).clone();
        table.pending.clear();
        for call in table.calls.values_mut().filter(|call| call.open > 0) {
            call.open = 0;
            call.error.get_or_insert_with(|| error.clone());
            if let Some(sleeper) = call.sleeper.take() {
                sleeper.unpark();
            }
        }
    }

    fn lost(&self, error: &io::Error) -> Error {
        let peer = &self.peer;
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::new(Kind::Io, format!("lost the connection to {peer}: the server closed it"))
            }
            _ => Error::new(Kind::Io, format!("lost the connection to {peer}: {error}")),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Table {
    /// Who is to lead now, if no one does and someone sleeps.
    fn next_leader(&mut self) -> Option<Thread> {
        self.receiver.as_ref()?;
        self.calls.values_mut().filter(|call| call.open > 0).find_map(|call| call.sleeper.take())
    }
}
