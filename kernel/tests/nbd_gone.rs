//! Clients that are gone while what they asked for is being done apart.

mod support_nbd;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use cowshed_kernel::nbd::proto::{Request, command, command::flag};
use cowshed_kernel::nbd::server::Limits;
use cowshed_kernel::storage::{MemoryStorage, Storage};
use parking_lot::{Condvar, Mutex};
use support_nbd::{Chat, Serving};

/// A medium that has nothing in memory, and whose reads and syncs can be held up.
#[derive(Debug, Default)]
struct Medium {
    inner: MemoryStorage,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reads_held: bool,
    syncs_held: bool,
    /// Reads that are over.
    reads: usize,
    /// Reads and syncs that are held up.
    waiting: usize,
}

impl Medium {
    fn hold(&self, reads: bool, syncs: bool) {
        let mut state = self.state.lock();
        (state.reads_held, state.syncs_held) = (reads, syncs);
        self.changed.notify_all();
    }

    fn pass(&self, held: impl Fn(&State) -> bool) {
        let mut state = self.state.lock();
        state.waiting += 1;
        while held(&state) {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
    }
}

impl Storage for Medium {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.pass(|state| state.reads_held);
        self.inner.read_at(offset, buf)?;
        self.state.lock().reads += 1;
        Ok(())
    }

    fn read_at_once(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, data)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.pass(|state| state.syncs_held);
        self.inner.sync()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.inner.allocated()
    }
}

/// Nothing is held up any longer, even if the test fails.
struct Opens(Arc<Medium>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.hold(false, false);
    }
}

const LENGTH: u64 = 1 << 20;
const READS: u64 = 6;

/// A client that asked for long reads and a durable trim, all done apart and held up.
fn asking() -> (Arc<Medium>, Serving, Chat, Opens) {
    let medium = Arc::new(Medium::default());
    let serving = Serving::on(medium.clone(), Limits::default());
    let mut chat = Chat::open(&serving.socket, "disk", true, false, &[]);
    for i in 0..READS {
        assert_eq!(chat.write(i * LENGTH, &vec![i as u8 + 1; LENGTH as usize]), 0);
    }
    medium.hold(true, true);
    let mut said = Vec::new();
    for i in 0..READS {
        let request =
            Request { flags: 0, command: command::READ, cookie: i, offset: i * LENGTH, length: LENGTH };
        request.write(&mut said, false);
    }
    let trim = Request { flags: flag::FUA, command: command::TRIM, cookie: READS, offset: 0, length: 4096 };
    trim.write(&mut said, false);
    (&chat.raw.0).write_all(&said).unwrap();
    until("requests that are held up", || medium.state.lock().waiting as u64 == READS + 1);
    let opens = Opens(medium.clone());
    (medium, serving, chat, opens)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_client_that_is_gone_is_forgotten() {
    let (medium, serving, mut chat, _opens) = asking();
    let before = medium.state.lock().reads;
    medium.hold(false, false);
    until("reads that are over", || medium.state.lock().reads >= before + READS as usize);
    // It takes one reply, and with the next one it is gone.
    chat.raw.0.read_exact(&mut vec![0; 20 + 8 + LENGTH as usize]).unwrap();
    drop(chat);
    until("no connections", || serving.server.connections().is_empty());
    assert_eq!(serving.shelf.open.load(SeqCst), 0);
}

#[test]
fn an_export_is_closed_only_when_nothing_more_is_done_to_it() {
    let (medium, serving, chat, _opens) = asking();
    drop(chat);
    let before = medium.state.lock().reads;
    medium.hold(false, true);
    until("reads that are over", || medium.state.lock().reads >= before + READS as usize);
    // Nobody hears of them; but the trim has not ended.
    let deadline = Instant::now() + Duration::from_millis(300);
    while Instant::now() < deadline {
        assert_eq!(serving.shelf.open.load(SeqCst), 1, "closed while a request is being done");
        std::thread::sleep(Duration::from_millis(5));
    }
    medium.hold(false, false);
    until("no connections", || serving.server.connections().is_empty());
    assert_eq!(serving.shelf.open.load(SeqCst), 0);
}
