//! Requests and replies, once an export is agreed on.
//!
//! A connection has one thread, which answers at once whatever needs no waiting. What waits for a medium (reads of data
//! that is not in memory, flushes) is done by the pool's threads while the connection goes on, unless the client has nothing
//! else to be done. A client that is slow to send or to receive delays its own thread and no other.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::buffers::{INPUT, Input, Output};
use super::exports::errno_of;
use super::negotiation::{Agreed, Replies};
use super::outbox::{Budget, Done, Outbox};
use super::pool::Pool;
use super::proto::{
    self, Chunk, MAX_PAYLOAD, Request, chunk, command, command::flag, errno, take_u32, take_u64,
};
use super::statistics::ExportCounts;
use super::stream::Stream;
use crate::error::{Error, Kind, Result};
use crate::ids::BLOCK_SIZE;

/// The piece in which long reads are sent: it stays in the processor's cache between being read and written.
const READ_PIECE: usize = 256 << 10;
/// What is gathered of a write before it is written to the disk.
const WRITE_PIECE: usize = 128 << 10;
/// The same where it goes to the medium at once, which likes it longer.
const UNCACHED_PIECE: usize = 1 << 20;
/// The longest read that is done apart.
const APART: u64 = 1 << 20;
/// Longer ranges are unmapped apart.
const LONG_DISCARD: u64 = 16 << 20;
/// Requests of a connection that are done apart at a time.
const OUTSTANDING: usize = 64;
/// The next request of a client whose requests follow replies within this time is waited for awake: to be woken costs
/// some 25 µs on a processor that has gone to sleep, more than the request itself.
const AWAKE: Duration = Duration::from_micros(100);
/// After so many lone requests a client counts as one that waits for each reply.
const LONE: u32 = 64;

/// What all sessions of a server share.
pub struct Shared {
    /// Does what waits.
    pub pool: Arc<Pool>,
    /// Memory for it.
    pub budget: Arc<Budget>,
    /// Places to wait awake in, fewer than there are processors.
    pub awake: Arc<Budget>,
}

impl Shared {
    /// For a server that lets so many bytes be read apart at a time.
    pub fn new(apart: usize) -> Shared {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Shared {
            pool: Arc::new(Pool::default()),
            budget: Arc::new(Budget::new(apart)),
            awake: Arc::new(Budget::new(processors / 2)),
        }
    }
}

/// Why a session ends.
pub enum End {
    /// The client said so, or is gone.
    Closed,
    /// It broke the protocol.
    Violation(&'static str),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Closed
    }
}

type Step = std::result::Result<(), End>;

/// One connection to an export.
pub struct Session<'a> {
    agreed: &'a Agreed,
    shared: &'a Shared,
    connection: u64,
    counts: Arc<ExportCounts>,
    input: Input,
    /// The least that is written to the disk at a time while more is to come.
    write_piece: usize,
    output: Output,
    outbox: Arc<Outbox>,
    /// Requests that are done apart and not answered yet.
    outstanding: usize,
    /// Counts down while requests come one by one.
    crowd: u32,
    /// Whether the last request came soon after the reply before it.
    brisk: bool,
}

impl<'a> Session<'a> {
    /// A session that has not begun.
    pub fn new(
        agreed: &'a Agreed,
        shared: &'a Shared,
        connection: u64,
        counts: Arc<ExportCounts>,
    ) -> io::Result<Session<'a>> {
        let (input, write_piece) = match agreed.export.disk.is_cached() {
            true => (INPUT, WRITE_PIECE),
            false => (UNCACHED_PIECE, UNCACHED_PIECE),
        };
        Ok(Session {
            agreed,
            shared,
            connection,
            counts,
            input: Input::new(input),
            write_piece,
            output: Output::new(),
            outbox: Arc::new(Outbox::new()?),
            outstanding: 0,
            crowd: 0,
            brisk: false,
        })
    }

    /// Answer requests until the client goes, or can be understood no more.
    pub fn run(&mut self) -> End {
        let end = loop {
            if let Err(end) = self.step() {
                break end;
            }
        };
        // What came before is done when the connection is over, and answered where someone is there to hear it.
        let mut heard = true;
        while self.outstanding > 0 {
            let waited = poll(&mut [PollFd::new(&*self.outbox, PollFlags::IN)], None);
            if waited.is_err_and(|e| e != rustix::io::Errno::INTR) {
                break;
            }
            if heard {
                heard = self.deliver().is_ok();
            } else {
                self.outstanding -= self.outbox.take().len();
            }
        }
        let _ = self.output.write(&self.agreed.stream);
        end
    }

    fn extended(&self) -> bool {
        self.agreed.replies == Replies::Extended
    }

    fn step(&mut self) -> Step {
        if self.outstanding > 0 {
            self.deliver()?;
        }
        let extended = self.extended();
        if self.input.available().len() < Request::header_len(extended) {
            return self.wait();
        }
        let began = Instant::now();
        let Some(request) = Request::parse(self.input.available(), extended) else {
            return Err(End::Violation("a request without its magic number"));
        };
        self.input.consume(Request::header_len(extended));
        let payload = if request.command == command::WRITE { request.length } else { 0 };
        if self.outstanding > 0 || self.input.available().len() as u64 > payload {
            self.crowd = LONE;
        } else {
            self.crowd = self.crowd.saturating_sub(1);
        }
        self.handle(&request, began)
    }

    /// Send what is to be sent, and wait for requests or for what is done apart.
    fn wait(&mut self) -> Step {
        let stream = &self.agreed.stream;
        self.output.write(stream)?;
        if self.outstanding > 0 && !stream.has_buffered() {
            let socket = stream.socket();
            let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(&*self.outbox, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if fds[0].revents().is_empty() {
                return Ok(());
            }
            return self.fill();
        }
        let began = Instant::now();
        if !self.brisk || !self.fill_awake(began)? {
            self.fill()?;
        }
        self.brisk = began.elapsed() < AWAKE;
        Ok(())
    }

    /// Wait for bytes without sleeping, letting go of the processor for whoever wants it; whether some came in time.
    fn fill_awake(&mut self, began: Instant) -> std::result::Result<bool, End> {
        let Stream::Plain(socket) = &self.agreed.stream else {
            return Ok(false);
        };
        let Some(_place) = self.shared.awake.take(1) else {
            return Ok(false);
        };
        while began.elapsed() < AWAKE {
            match self.input.fill_at_once(socket)? {
                Some(0) => return Err(End::Closed),
                Some(_) => return Ok(true),
                None => std::thread::yield_now(),
            }
        }
        Ok(false)
    }

    fn fill(&mut self) -> Step {
        match self.input.fill(&self.agreed.stream)? {
            0 => Err(End::Closed),
            _ => Ok(()),
        }
    }

    /// Have at least so many bytes of what belongs to a request.
    fn fill_to(&mut self, n: usize) -> Step {
        while self.input.available().len() < n {
            self.output.write(&self.agreed.stream)?;
            self.fill()?;
        }
        Ok(())
    }

    /// Whether the client has nothing else to be done.
    fn is_lone(&self) -> bool {
        self.crowd == 0 || self.outstanding >= OUTSTANDING
    }

    fn handle(&mut self, request: &Request, began: Instant) -> Step {
        let r = *request;
        let allowed = flag::FUA
            | match r.command {
                command::READ => flag::DF,
                command::WRITE if self.extended() => flag::PAYLOAD_LEN,
                command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
                command::BLOCK_STATUS if self.extended() => flag::REQ_ONE | flag::PAYLOAD_LEN,
                command::BLOCK_STATUS => flag::REQ_ONE,
                _ => 0,
            };
        // A write has a payload in any case: QEMU's client leaves the flag out.
        let payload = r.command == command::WRITE || (self.extended() && r.flags & flag::PAYLOAD_LEN != 0);
        if payload && r.length > u64::from(MAX_PAYLOAD) {
            return Err(End::Violation("a payload longer than this server takes"));
        }
        if r.flags & !allowed != 0 {
            if payload {
                self.skip(r.length)?;
            }
            return self.fail(&r, began, &Error::invalid("a flag that this request does not have"));
        }
        match r.command {
            command::READ => self.read(&r, began),
            command::WRITE => self.write(&r, began),
            command::DISCONNECT => Err(End::Closed),
            command::FLUSH => self.flush(&r, began),
            command::TRIM | command::WRITE_ZEROES => self.discard(&r, began),
            command::CACHE => self.cache(&r, began),
            command::BLOCK_STATUS => self.block_status(&r, payload, began),
            _ => {
                if payload {
                    self.skip(r.length)?;
                }
                self.fail(&r, began, &Error::invalid("a request that this server does not know"))
            }
        }
    }

    // --- reading

    fn read(&mut self, r: &Request, began: Instant) -> Step {
        let disk = &self.agreed.export.disk;
        if let Err(error) = disk.check_range(r.offset, r.length) {
            return self.fail(r, began, &error);
        }
        if r.length > u64::from(MAX_PAYLOAD) {
            let error = Error::invalid(format!("a read of more than {MAX_PAYLOAD} bytes"));
            return self.fail_as(r, began, errno::EOVERFLOW, &error);
        }
        if r.length == 0 {
            return self.succeed(r, began);
        }
        if !self.is_lone() && r.length <= APART {
            let n = (r.length as usize).min(READ_PIECE);
            let head = self.read_head(r);
            let room = self.output.room(&self.agreed.stream, head + n)?;
            match disk.read_at_once(r.offset, &mut room[head..]) {
                Err(error) => return self.fail(r, began, &error),
                Ok(true) => return self.read_here(r, began, true),
                Ok(false) => {
                    let (disk, r) = (disk.clone(), *r);
                    let read = move || {
                        let mut data = vec![0; r.length as usize];
                        disk.read(r.offset, &mut data).map(|()| data)
                    };
                    if self.apart(&r, began, r.length as usize, read) {
                        return Ok(());
                    }
                }
            }
        }
        self.read_here(r, began, false)
    }

    /// Bytes before the data of a read's first piece.
    fn read_head(&self, r: &Request) -> usize {
        match self.agreed.replies {
            Replies::Simple => proto::SIMPLE_REPLY,
            _ => Chunk::header_len(self.extended()) + size_of_val(&r.offset),
        }
    }

    /// Read and send piece by piece; the first piece may be in its place in the output already.
    fn read_here(&mut self, r: &Request, began: Instant, first_is_there: bool) -> Step {
        let whole = self.agreed.replies == Replies::Simple || r.flags & flag::DF != 0;
        let end = r.offset + r.length;
        let mut at = r.offset;
        while at < end {
            let n = (end - at).min(READ_PIECE as u64);
            // A piece has a header of its own, unless all have the first one's.
            let head = if whole && at > r.offset { 0 } else { self.read_head(r) };
            let room = self.output.room(&self.agreed.stream, head + n as usize)?;
            let there = first_is_there && at == r.offset;
            let disk = &self.agreed.export.disk;
            if let Err(error) = if there { Ok(()) } else { disk.read(at, &mut room[head..]) } {
                if whole && at > r.offset {
                    // The client has been promised data that there is not.
                    return Err(End::Closed);
                }
                return self.fail(r, began, &error);
            }
            if head > 0 {
                let len = if whole { r.length } else { n };
                let last = whole || at + n == end;
                let header = self.data_header(r, at, len, last);
                self.output.room(&self.agreed.stream, head)?.copy_from_slice(&header[..head]);
            }
            self.output.add(head + n as usize);
            at += n;
        }
        self.note(r, began, false);
        Ok(())
    }

    /// What comes before data, in an array that is long enough for all kinds of it.
    fn data_header(&self, r: &Request, offset: u64, len: u64, last: bool) -> [u8; Chunk::EXTENDED + 8] {
        let mut out = [0; Chunk::EXTENDED + 8];
        if self.agreed.replies == Replies::Simple {
            out[..proto::SIMPLE_REPLY].copy_from_slice(&proto::simple_reply(0, r.cookie));
            return out;
        }
        let flags = if last { chunk::DONE } else { 0 };
        let header = self.chunk(r, flags, chunk::OFFSET_DATA, len + 8);
        let n = Chunk::header_len(self.extended());
        out[..n].copy_from_slice(&header.bytes(self.extended())[..n]);
        out[n..n + 8].copy_from_slice(&offset.to_be_bytes());
        out
    }

    // --- writing

    fn write(&mut self, r: &Request, began: Instant) -> Step {
        let export = &self.agreed.export;
        let mut failed = export
            .check_writable()
            .and_then(|()| export.disk.check_range(r.offset, r.length))
            .map_err(|error| (if error.kind == Kind::Invalid { errno::ENOSPC } else { 0 }, error))
            .err();
        // The payload is taken in any case.
        let mut left = r.length as usize;
        while left > 0 {
            self.fill_to(left.min(self.write_piece))?;
            let mut n = self.input.available().len().min(left);
            if failed.is_none() {
                let at = r.offset + r.length - left as u64;
                if n < left {
                    // Only whole blocks, so that none is written twice.
                    n -= ((at + n as u64) % BLOCK_SIZE) as usize;
                }
                failed = export.disk.write(at, &self.input.available()[..n]).err().map(|e| (0, e));
            }
            self.input.consume(n);
            left -= n;
        }
        match failed {
            None => self.finish(r, began),
            Some((0, error)) => self.fail(r, began, &error),
            Some((errno, error)) => self.fail_as(r, began, errno, &error),
        }
    }

    /// A change is made; with FUA it is to last before that is said.
    fn finish(&mut self, r: &Request, began: Instant) -> Step {
        if r.flags & flag::FUA != 0 { self.flush(r, began) } else { self.succeed(r, began) }
    }

    fn flush(&mut self, r: &Request, began: Instant) -> Step {
        let core = self.agreed.export.disk.core.clone();
        let flush = move || core.flush().map(|()| Vec::new());
        self.here_or_apart(r, began, !self.is_lone(), flush)
    }

    fn discard(&mut self, r: &Request, began: Instant) -> Step {
        let export = &self.agreed.export;
        if let Err(error) = export.check_writable() {
            return self.fail(r, began, &error);
        }
        if let Err(error) = export.disk.check_range(r.offset, r.length) {
            let errno = if r.command == command::TRIM { errno::EINVAL } else { errno::ENOSPC };
            return self.fail_as(r, began, errno, &error);
        }
        let (disk, r) = (export.disk.clone(), *r);
        let lasting = r.flags & flag::FUA != 0;
        let discard = move || {
            disk.discard(r.offset, r.length)?;
            if lasting { disk.core.flush().map(|()| Vec::new()) } else { Ok(Vec::new()) }
        };
        let apart = !self.is_lone() && (lasting || r.length > LONG_DISCARD);
        self.here_or_apart(&r, began, apart, discard)
    }

    /// Read a range so that it is in memory.
    fn cache(&mut self, r: &Request, began: Instant) -> Step {
        let disk = self.agreed.export.disk.clone();
        if let Err(error) = disk.check_range(r.offset, r.length) {
            return self.fail(r, began, &error);
        }
        let (mut at, end) = (r.offset, r.offset + r.length);
        let cache = move || {
            let mut data = vec![0; READ_PIECE];
            while at < end {
                let n = (end - at).min(READ_PIECE as u64);
                disk.read(at, &mut data[..n as usize])?;
                at += n;
            }
            Ok(Vec::new())
        };
        self.here_or_apart(r, began, !self.is_lone(), cache)
    }

    // --- block status

    fn block_status(&mut self, r: &Request, payload: bool, began: Instant) -> Step {
        let all = 1..=self.agreed.contexts.len() as u32;
        let (length, chosen) = if payload {
            match self.status_payload(r.length)? {
                Some((length, ids)) if ids.iter().all(|id| all.contains(id)) => (length, ids),
                _ => return self.fail(r, began, &Error::invalid("a malformed choice of contexts")),
            }
        } else {
            (r.length, all.collect())
        };
        if chosen.is_empty() || length == 0 {
            return self.fail(r, began, &Error::invalid("block status of nothing"));
        }
        let export = &self.agreed.export;
        if let Err(error) = export.disk.check_range(r.offset, length) {
            return self.fail(r, began, &error);
        }
        let one = r.flags & flag::REQ_ONE != 0;
        let mut out = Vec::new();
        for (i, id) in chosen.iter().enumerate() {
            let context = &self.agreed.contexts[*id as usize - 1];
            let pieces = match context.status(export, r.offset, length, one) {
                Ok(pieces) => pieces,
                Err(error) => return self.fail(r, began, &error),
            };
            let flags = if i + 1 == chosen.len() { chunk::DONE } else { 0 };
            self.status_chunk(r, flags, *id, &pieces, &mut out);
        }
        self.output.push(&self.agreed.stream, &out)?;
        self.note(r, began, false);
        Ok(())
    }

    fn status_chunk(&self, r: &Request, flags: u16, id: u32, pieces: &[(u64, u32)], out: &mut Vec<u8>) {
        let extended = self.extended();
        let (kind, len) = match extended {
            true => (chunk::BLOCK_STATUS_EXT, 8 + 16 * pieces.len()),
            false => (chunk::BLOCK_STATUS, 4 + 8 * pieces.len()),
        };
        let header = self.chunk(r, flags, kind, len as u64).bytes(extended);
        out.extend_from_slice(&header[..Chunk::header_len(extended)]);
        out.extend_from_slice(&id.to_be_bytes());
        if extended {
            out.extend_from_slice(&(pieces.len() as u32).to_be_bytes());
        }
        for (len, flags) in pieces {
            if extended {
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(&u64::from(*flags).to_be_bytes());
            } else {
                // The request's length has no more bits, and no piece is longer.
                out.extend_from_slice(&(*len as u32).to_be_bytes());
                out.extend_from_slice(&flags.to_be_bytes());
            }
        }
    }

    /// The length and the contexts that a payload chooses; nothing for one that does not look like that.
    fn status_payload(&mut self, len: u64) -> std::result::Result<Option<(u64, Vec<u32>)>, End> {
        let longest = 8 + 4 * self.agreed.contexts.len() as u64;
        if len < 8 || len > longest || !len.is_multiple_of(4) {
            self.skip(len)?;
            return Ok(None);
        }
        self.fill_to(len as usize)?;
        let mut bytes = &self.input.available()[..len as usize];
        let length = take_u64(&mut bytes);
        let ids = std::iter::from_fn(|| take_u32(&mut bytes)).collect();
        self.input.consume(len as usize);
        Ok(length.map(|length| (length, ids)))
    }

    /// Pass over a payload.
    fn skip(&mut self, len: u64) -> Step {
        let mut left = len;
        while left > 0 {
            self.fill_to(1)?;
            let n = (self.input.available().len() as u64).min(left);
            self.input.consume(n as usize);
            left -= n;
        }
        Ok(())
    }

    // --- here or apart

    /// Have work done apart, if memory and turns are left for it.
    fn apart(
        &mut self,
        r: &Request,
        began: Instant,
        bytes: usize,
        work: impl FnOnce() -> Result<Vec<u8>> + Send + 'static,
    ) -> bool {
        if self.outstanding >= OUTSTANDING {
            return false;
        }
        let Some(granted) = self.shared.budget.take(bytes) else {
            return false;
        };
        self.outstanding += 1;
        let (outbox, request) = (self.outbox.clone(), *r);
        self.shared.pool.submit(self.connection, move || {
            let result = work();
            outbox.put(Done { request, began, result });
            drop(granted);
        });
        true
    }

    fn here_or_apart(
        &mut self,
        r: &Request,
        began: Instant,
        apart: bool,
        work: impl FnOnce() -> Result<Vec<u8>> + Send + Clone + 'static,
    ) -> Step {
        if apart && self.apart(r, began, 0, work.clone()) {
            return Ok(());
        }
        match work() {
            Ok(_) => self.succeed(r, began),
            Err(error) => self.fail(r, began, &error),
        }
    }

    /// Answer what was done apart.
    fn deliver(&mut self) -> Step {
        let done = self.outbox.take();
        // All of them, though a client that is gone may hear of none.
        self.outstanding -= done.len();
        for Done { request, began, result } in done {
            match result {
                Err(error) => self.fail(&request, began, &error)?,
                Ok(data) if data.is_empty() => self.succeed(&request, began)?,
                Ok(data) => {
                    let header = self.data_header(&request, request.offset, data.len() as u64, true);
                    let head = self.read_head(&request);
                    self.output.push(&self.agreed.stream, &header[..head])?;
                    self.output.push(&self.agreed.stream, &data)?;
                    self.note(&request, began, false);
                }
            }
        }
        Ok(())
    }

    // --- replies

    fn chunk(&self, r: &Request, flags: u16, kind: u16, length: u64) -> Chunk {
        Chunk { flags, kind, cookie: r.cookie, offset: r.offset, length }
    }

    fn note(&self, r: &Request, began: Instant, failed: bool) {
        self.counts.note(r.command, r.length, began, failed);
    }

    fn succeed(&mut self, r: &Request, began: Instant) -> Step {
        self.note(r, began, false);
        // Among compact replies only those of reads must be structured.
        let structured =
            self.extended() || (self.agreed.replies != Replies::Simple && r.command == command::READ);
        if structured {
            let header = self.chunk(r, chunk::DONE, chunk::NONE, 0).bytes(self.extended());
            self.output.push(&self.agreed.stream, &header[..Chunk::header_len(self.extended())])?;
        } else {
            self.output.push(&self.agreed.stream, &proto::simple_reply(0, r.cookie))?;
        }
        Ok(())
    }

    fn fail(&mut self, r: &Request, began: Instant, error: &Error) -> Step {
        self.fail_as(r, began, errno_of(error.kind), error)
    }

    fn fail_as(&mut self, r: &Request, began: Instant, errno: u32, error: &Error) -> Step {
        self.note(r, began, true);
        if self.agreed.replies == Replies::Simple {
            self.output.push(&self.agreed.stream, &proto::simple_reply(errno, r.cookie))?;
            return Ok(());
        }
        let mut len = error.message.len().min(proto::MAX_TEXT);
        while !error.message.is_char_boundary(len) {
            len -= 1;
        }
        let message = &error.message.as_bytes()[..len];
        let header = self.chunk(r, chunk::DONE, chunk::ERROR, 6 + len as u64).bytes(self.extended());
        let mut out = header[..Chunk::header_len(self.extended())].to_vec();
        out.extend_from_slice(&errno.to_be_bytes());
        out.extend_from_slice(&(len as u16).to_be_bytes());
        out.extend_from_slice(message);
        self.output.push(&self.agreed.stream, &out)?;
        Ok(())
    }
}
