//! The NBD client: one export of one server, as a disk.
//!
//! From the bottom up: [`link`] (sockets), [`handshake`] (what is agreed on), `coverage` and [`replies`] (what comes back),
//! [`connection`] (many threads on one connection), and here the disk's own operations: long ones in pieces.

pub mod connection;
mod coverage;
pub mod handshake;
pub mod link;
pub mod replies;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};
use crate::nbd::proto::{MAX_PAYLOAD, allocation, command, transmission};
use crate::nbd::stream::{Socket, Stream};
use crate::nbd::tls::ClientTls;
use connection::{Connection, Payload, Piece};
use handshake::{Dialect, Export, Handshake};
use link::{Address, Deadline, connect, unreachable};

/// Long reads and writes go in pieces of this length, several at a time.
const PIECE: u64 = 1 << 20;
/// Requests without data where lengths have 32 bits, and where they have 64.
const COMPACT_PIECE: u64 = 1 << 30;
const EXTENDED_PIECE: u64 = 1 << 40;

/// Where a server is, what is wanted of it, and how it is to be reached.
#[derive(Clone)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// The export's name.
    pub export: String,
    /// The longest that connecting may take.
    pub timeout: Duration,
    /// Encrypt, and know the server by this.
    pub tls: Option<ClientTls>,
}

/// A piece of a disk: offset, length, and what a context says of it.
pub type Extent = (u64, u64, u64);

/// An export, open for I/O by any number of threads.
pub struct Client {
    target: Target,
    /// As people write it: the address, and the export's name.
    peer: String,
    main: Connection,
    /// For contexts that were not asked for when the main connection was made.
    others: Mutex<HashMap<String, Arc<Connection>>>,
}

impl Client {
    /// Connect; `contexts` beside `base:allocation` are those that `extents` will be asked for.
    pub fn connect(target: Target, contexts: &[&str]) -> Result<Client> {
        let peer = match &target.address {
            Address::Unix(path) => format!("unix:{}", path.display()),
            Address::Tcp(host, port) => format!("tcp:{host}:{port}"),
        };
        let mut asked = vec![allocation::CONTEXT];
        asked.extend(contexts.iter().filter(|context| **context != allocation::CONTEXT));
        let main = open(&target, &peer, &asked)?;
        Ok(Client { target, peer, main, others: Mutex::default() })
    }

    /// Where the server is, to connect again.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the connection still is there, as far as is known.
    pub fn usable(&self) -> bool {
        self.main.usable()
    }

    /// What was agreed on.
    pub fn export(&self) -> &Export {
        &self.main.export
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.main.export.size
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.main.export.offers(transmission::READ_ONLY)
    }

    /// Fill the buffer with what is at `offset`.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check_range(offset, buffer.len() as u64)?;
        let piece = self.piece(PIECE.min(self.main.export.max_block.into()));
        let mut at = offset;
        let pieces = buffer.chunks_mut(piece as usize).map(|part| {
            let length = part.len() as u64;
            at += length;
            Piece {
                command: command::READ,
                flags: 0,
                offset: at - length,
                length,
                payload: Payload::Fill(part),
            }
        });
        self.main.run(pieces).map(drop)
    }

    /// Write the data at `offset`; with `fua`, it is durable on return.
    pub fn write(&self, offset: u64, data: &[u8], fua: bool) -> Result<()> {
        self.check_writable("write", transmission::HAS_FLAGS)?;
        self.check_range(offset, data.len() as u64)?;
        let at_once = fua && self.main.export.offers(transmission::SEND_FUA);
        if fua && !at_once {
            self.check_writable("make writes durable", transmission::SEND_FLUSH)?;
        }
        let piece = self.piece(PIECE.min(self.main.export.max_block.into()));
        let mut at = offset;
        let pieces = data.chunks(piece as usize).map(|part| {
            let length = part.len() as u64;
            at += length;
            Piece {
                command: command::WRITE,
                flags: if at_once { command::flag::FUA } else { 0 },
                offset: at - length,
                length,
                payload: Payload::Send(part),
            }
        });
        self.main.run(pieces)?;
        if fua && !at_once { self.flush() } else { Ok(()) }
    }

    /// Give the range's space back. What it reads as afterwards is the server's affair (cowshed's: zeros).
    pub fn discard(&self, offset: u64, length: u64) -> Result<()> {
        self.check_writable("discard", transmission::SEND_TRIM)?;
        self.without_data(command::TRIM, offset, length, COMPACT_PIECE)
    }

    /// Have the range read as zeros.
    pub fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        self.check_writable("write zeroes", transmission::SEND_WRITE_ZEROES)?;
        let most = self.main.export.max_block.min(MAX_PAYLOAD);
        self.without_data(command::WRITE_ZEROES, offset, length, most.into())
    }

    /// Return when all that was written before the call is durable.
    pub fn flush(&self) -> Result<()> {
        if self.read_only() {
            return Ok(());
        }
        self.check_writable("flush", transmission::SEND_FLUSH)?;
        let flush = Piece { command: command::FLUSH, flags: 0, offset: 0, length: 0, payload: Payload::None };
        self.main.run(std::iter::once(flush)).map(drop)
    }

    /// What a context says of the range: pieces that cover it in order, neighbours with equal flags joined.
    ///
    /// A server without `base:allocation` has data everywhere, as far as one can know; any other context that the
    /// server does not know is `missing`.
    pub fn extents(&self, offset: u64, length: u64, context: &str) -> Result<Vec<Extent>> {
        self.check_range(offset, length)?;
        if let Some(id) = context_id(&self.main, context) {
            return statuses(&self.main, offset, length, id);
        }
        if context == allocation::CONTEXT {
            return Ok(if length == 0 { Vec::new() } else { vec![(offset, length, 0)] });
        }
        let other = self.other(context)?;
        match context_id(&other, context) {
            Some(id) => statuses(&other, offset, length, id),
            None => unreachable!("kept only if granted"),
        }
    }

    /// End the connection. Calls in flight fail, and so does every later one. In a fork, nothing happens.
    pub fn close(&self) {
        if self.main.check_home().is_err() {
            return;
        }
        self.main.close();
        self.others.lock().values().for_each(|other| other.close());
    }

    /// A connection that has this context.
    fn other(&self, context: &str) -> Result<Arc<Connection>> {
        self.main.check_home()?;
        let mut others = self.others.lock();
        if let Some(other) = others.get(context).filter(|other| other.usable()) {
            return Ok(other.clone());
        }
        self.main.check_usable()?;
        let other = open(&self.target, &self.peer, &[context])?;
        if context_id(&other, context).is_none() {
            let message = format!("the NBD server at {} has no block status {context:?}", self.peer);
            return Err(Error::new(Kind::Missing, message));
        }
        let other = Arc::new(other);
        others.insert(context.to_string(), other.clone());
        Ok(other)
    }

    fn without_data(&self, command: u16, offset: u64, length: u64, compact: u64) -> Result<()> {
        self.check_range(offset, length)?;
        let extended = self.main.export.dialect == Dialect::Extended;
        let step = self.piece(if extended { EXTENDED_PIECE } else { compact });
        let end = offset + length;
        let starts = std::iter::successors(Some(offset), |at| Some(at + step)).take_while(|at| *at < end);
        let pieces = starts.map(|at| Piece {
            command,
            flags: 0,
            offset: at,
            length: step.min(end - at),
            payload: Payload::None,
        });
        self.main.run(pieces).map(drop)
    }

    /// The longest piece up to `most` that the server's blocks divide.
    fn piece(&self, most: u64) -> u64 {
        let min = u64::from(self.main.export.min_block);
        (most - most % min).max(min)
    }

    /// Whether the range lies within the disk, and on the server's blocks.
    pub fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        let size = self.size();
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::invalid(format!(
                "{length} bytes at {offset} go beyond the end of the disk, {size} bytes"
            )));
        }
        let min = u64::from(self.main.export.min_block);
        if !offset.is_multiple_of(min) || !length.is_multiple_of(min) {
            return Err(Error::invalid(format!(
                "{length} bytes at {offset}: the NBD server at {} takes only multiples of {min} bytes",
                self.peer
            )));
        }
        Ok(())
    }

    fn check_writable(&self, what: &str, flag: u16) -> Result<()> {
        if self.read_only() {
            let message = format!("the NBD server at {} serves this disk read-only", self.peer);
            return Err(Error::new(Kind::ReadOnly, message));
        }
        if !self.main.export.offers(flag) {
            return Err(Error::invalid(format!("the NBD server at {} cannot {what}", self.peer)));
        }
        Ok(())
    }
}

/// Reach the server, agree, and have the export ready for requests.
fn open(target: &Target, peer: &str, contexts: &[&str]) -> Result<Connection> {
    let deadline = Deadline::after(target.timeout);
    let socket = connect(&target.address, deadline).map_err(|error| unreachable(peer, &error))?;
    converse(socket, target, deadline, peer, contexts)
}

/// The same over a socket that is connected already.
fn converse(
    socket: Socket,
    target: &Target,
    deadline: Deadline,
    peer: &str,
    contexts: &[&str],
) -> Result<Connection> {
    let mut stream = Stream::Plain(socket);
    let mut shake = Handshake::greet(&stream, deadline, peer)?;
    if let Some(tls) = &target.tls {
        shake.start_tls()?;
        stream = encrypted(stream, tls, target, peer)?;
    }
    let export = Handshake::resume(&stream, deadline, peer).negotiate(&target.export, contexts)?;
    stream.socket().set_timeout(None).map_err(|error| unreachable(peer, &error))?;
    Ok(Connection::new(stream, export, peer.to_string()))
}

fn encrypted(stream: Stream, tls: &ClientTls, target: &Target, peer: &str) -> Result<Stream> {
    let Stream::Plain(socket) = stream else {
        return Ok(stream);
    };
    let host = match &target.address {
        Address::Unix(_) => "localhost",
        Address::Tcp(host, _) => host,
    };
    let tls = tls.connect(socket, host).map_err(|error| match error.kind() {
        // What is wrong with whose certificate.
        io::ErrorKind::InvalidData => {
            Error::new(Kind::Refused, format!("no TLS with the NBD server at {peer}: {error}"))
        }
        _ => unreachable(peer, &error),
    })?;
    Ok(Stream::Tls(Box::new(tls)))
}

fn context_id(connection: &Connection, context: &str) -> Option<u32> {
    let mut granted = connection.export.contexts.iter();
    granted.find(|(name, _)| name == context).map(|(_, id)| *id)
}

/// Ask for block status until the range is covered.
fn statuses(connection: &Connection, offset: u64, length: u64, id: u32) -> Result<Vec<Extent>> {
    let most = if connection.export.dialect == Dialect::Extended { EXTENDED_PIECE } else { COMPACT_PIECE };
    let end = offset + length;
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = offset;
    while at < end {
        let ask = Piece {
            command: command::BLOCK_STATUS,
            flags: 0,
            offset: at,
            length: most.min(end - at),
            payload: Payload::Status(id),
        };
        for (length, flags) in connection.run(std::iter::once(ask))? {
            // The last one may go on beyond what was asked.
            let length = length.min(end - at);
            match extents.last_mut() {
                Some(last) if last.2 == flags => last.1 += length,
                _ if length > 0 => extents.push((at, length, flags)),
                _ => {}
            }
            at += length;
        }
    }
    Ok(extents)
}
