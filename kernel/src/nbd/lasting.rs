//! A client that outlives its connection: when the server goes away, requests wait until it is back.
//!
//! A server that ends in order has made everything durable. One that was killed has forgotten what was written since the
//! last flush, though it had acknowledged it. So whatever was written since is kept here, and written again, in the
//! order in which it was acknowledged, before anything else is asked of the new connection. It is forgotten when a flush
//! says that it is durable; and when it becomes too much, it is flushed.
//!
//! It is for one writer: what others wrote in between at the same places would be overwritten.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Kind, Result};
use crate::nbd::client::{Client, Target};

/// Bytes that are kept at most; more are flushed.
const KEPT: usize = 64 << 20;
/// What a change without data counts as.
const SMALL: usize = 64;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// A change that may have to be made again.
enum Change {
    Write(u64, Box<[u8]>),
    Zeroes(u64, u64),
}

impl Change {
    fn weight(&self) -> usize {
        match self {
            Change::Write(_, data) => data.len() + SMALL,
            Change::Zeroes(..) => SMALL,
        }
    }

    fn make(&self, client: &Client) -> Result<()> {
        match self {
            Change::Write(offset, data) => client.write(*offset, data, false),
            Change::Zeroes(offset, length) => client.write_zeroes(*offset, *length),
        }
    }
}

/// What was acknowledged and is not known to be durable, oldest first.
#[derive(Default)]
struct Kept {
    changes: std::collections::VecDeque<Change>,
    bytes: usize,
    /// How many were forgotten: the number of the first one that is kept.
    first: u64,
}

impl Kept {
    fn push(&mut self, change: Change) {
        self.bytes += change.weight();
        self.changes.push_back(change);
    }

    /// The number of the next one.
    fn next(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// Forget all before this number.
    fn forget(&mut self, before: u64) {
        while self.first < before
            && let Some(change) = self.changes.pop_front()
        {
            self.bytes -= change.weight();
            self.first += 1;
        }
    }
}

struct Link {
    client: Arc<Client>,
    /// How many came before it.
    generation: u64,
    /// Why there will be none any more.
    over: Option<Error>,
}

/// An export, open for I/O by any number of threads, whose server may be away for a while.
pub struct Lasting {
    target: Target,
    size: u64,
    read_only: bool,
    patience: Duration,
    /// Read while a request is under way and until it is kept, so that no one connects again in between.
    link: RwLock<Link>,
    kept: Mutex<Kept>,
}

impl Lasting {
    /// Take over a client; look for its server for so long whenever it is away.
    pub fn new(client: Arc<Client>, patience: Duration) -> Lasting {
        Lasting {
            target: client.target().clone(),
            size: client.size(),
            read_only: client.read_only(),
            patience,
            link: RwLock::new(Link { client, generation: 0, over: None }),
            kept: Mutex::default(),
        }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// As of the client.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.run(|client| client.read(offset, buffer), || ())
    }

    /// As of the client.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let keep = || self.kept.lock().push(Change::Write(offset, data.into()));
        self.run(|client| client.write(offset, data, false), keep)?;
        self.limit()
    }

    /// As of the client.
    pub fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        let keep = || self.kept.lock().push(Change::Zeroes(offset, length));
        self.run(|client| client.write_zeroes(offset, length), keep)?;
        self.limit()
    }

    /// As of the client.
    pub fn flush(&self) -> Result<()> {
        let before = self.kept.lock().next();
        self.run(Client::flush, || self.kept.lock().forget(before))
    }

    fn limit(&self) -> Result<()> {
        if self.kept.lock().bytes > KEPT { self.flush() } else { Ok(()) }
    }

    /// Do a request, again and again while connections are lost; and when it is done, `then`.
    fn run<T>(&self, mut request: impl FnMut(&Client) -> Result<T>, then: impl FnOnce()) -> Result<T> {
        loop {
            let generation = {
                let link = self.link.read();
                if let Some(error) = &link.over {
                    return Err(error.clone());
                }
                match request(&link.client) {
                    Ok(done) => {
                        then();
                        return Ok(done);
                    }
                    Err(error) if link.client.usable() => return Err(error),
                    Err(_) => link.generation,
                }
            };
            self.connect_again(generation)?;
        }
    }

    /// Replace the connection that was lost, unless another has done it.
    fn connect_again(&self, generation: u64) -> Result<()> {
        let mut link = self.link.write();
        if link.generation != generation {
            return Ok(());
        }
        if let Some(error) = &link.over {
            return Err(error.clone());
        }
        match self.search() {
            Ok(client) => {
                link.client = Arc::new(client);
                link.generation += 1;
                Ok(())
            }
            Err(error) => {
                link.over = Some(error.clone());
                Err(error)
            }
        }
    }

    /// A new connection, on which all that is kept was written again and is durable.
    fn search(&self) -> Result<Client> {
        let end = Instant::now() + self.patience;
        loop {
            let error = match Client::connect(self.target.clone(), &[]) {
                Ok(client) => match self.catch_up(&client) {
                    Ok(()) => return Ok(client),
                    Err(error) if client.usable() => return Err(error),
                    Err(error) => error,
                },
                // Nobody is there, or is not ready. All else is an answer.
                Err(error) if matches!(error.kind, Kind::Io | Kind::Missing) => error,
                Err(error) => return Err(error),
            };
            if Instant::now() + PAUSE > end {
                return Err(Error::new(Kind::Io, error.message));
            }
            thread::sleep(PAUSE);
        }
    }

    fn catch_up(&self, client: &Client) -> Result<()> {
        if client.size() != self.size || (client.read_only() && !self.read_only) {
            return Err(Error::new(Kind::Stale, "the disk at the server is another one than before"));
        }
        let mut kept = self.kept.lock();
        for change in &kept.changes {
            change.make(client)?;
        }
        if !kept.changes.is_empty() {
            client.flush()?;
            let next = kept.next();
            kept.forget(next);
        }
        Ok(())
    }
}
