//! The bytes that came in and have not been used, and those that are to go out.

use std::io;

use super::stream::{Socket, Stream};

/// What buffers have at first: connections that are idle are to take little memory.
const SMALL: usize = 8 << 10;
/// What is read from a socket at a time, at most, as a rule.
pub const INPUT: usize = 256 << 10;
/// What is gathered before it is written: the largest piece of a read, and headers.
const OUTPUT: usize = 320 << 10;

/// Bytes that a client sent.
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    most: usize,
}

impl Input {
    /// Nothing yet, and `most` bytes at any time.
    pub fn new(most: usize) -> Input {
        Input { bytes: vec![0; SMALL], start: 0, end: 0, most }
    }

    /// What is there.
    pub fn available(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Done with the first `n` of them.
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Read some more, waiting for them; how many, none at the end.
    pub fn fill(&mut self, stream: &Stream) -> io::Result<usize> {
        self.make_room();
        let n = stream.read(&mut self.bytes[self.end..])?;
        self.end += n;
        Ok(n)
    }

    /// The same with what a plain socket has now, if anything.
    pub fn fill_at_once(&mut self, socket: &Socket) -> io::Result<Option<usize>> {
        self.make_room();
        let n = socket.read_at_once(&mut self.bytes[self.end..])?;
        self.end += n.unwrap_or(0);
        Ok(n)
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            self.bytes.resize((self.bytes.len() * 4).min(self.most), 0);
        }
    }
}

/// Bytes for a client.
pub struct Output {
    bytes: Vec<u8>,
    len: usize,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Output {
        Output { bytes: vec![0; SMALL], len: 0 }
    }

    /// Room for `n` bytes, no more than [`OUTPUT`]; what is gathered is written where it would be in the way.
    pub fn room(&mut self, stream: &Stream, n: usize) -> io::Result<&mut [u8]> {
        if self.len + n > OUTPUT {
            self.write(stream)?;
        }
        let end = self.len + n;
        if end > self.bytes.len() {
            self.bytes.resize(end.next_power_of_two().min(OUTPUT), 0);
        }
        Ok(&mut self.bytes[self.len..end])
    }

    /// The first `n` bytes of the room are used now.
    pub fn add(&mut self, n: usize) {
        self.len += n;
    }

    /// Append bytes; long ones are written at once.
    pub fn push(&mut self, stream: &Stream, data: &[u8]) -> io::Result<()> {
        if data.len() > OUTPUT / 4 {
            self.write(stream)?;
            return stream.write_all(data);
        }
        self.room(stream, data.len())?.copy_from_slice(data);
        self.add(data.len());
        Ok(())
    }

    /// Write what is gathered.
    pub fn write(&mut self, stream: &Stream) -> io::Result<()> {
        if self.len > 0 {
            let len = std::mem::take(&mut self.len);
            stream.write_all(&self.bytes[..len])?;
        }
        Ok(())
    }
}
