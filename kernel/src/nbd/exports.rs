//! What a server serves, as whoever runs it decides.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use super::proto::{answer, errno};
use crate::disk::Disk;
use crate::error::{Error, Kind, Result};
use crate::ids::VersionId;

/// Finds exports by their names. Asked while a connection is being agreed on and when it is over, never in between.
pub trait Exports: Send + Sync + 'static {
    /// The export of that name, for a client at `peer`.
    fn open(&self, name: &str, peer: &str) -> std::result::Result<Export, Refusal>;

    /// A connection to an export is over; `fault` is how the client broke the protocol, if it did.
    fn close(&self, export: &Export, fault: Option<&str>);

    /// Names and descriptions for clients that ask what there is.
    fn names(&self) -> Vec<(String, String)>;

    /// Snapshots from which an export can tell its differences.
    fn snapshots(&self, export: &Export) -> Vec<String>;

    /// The version of such a snapshot.
    fn snapshot(&self, export: &Export, name: &str) -> Option<VersionId>;
}

/// Why there is no export for a client.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// One of the errors in [`answer`].
    pub answer: u32,
    /// Words for the client.
    pub message: String,
}

impl Refusal {
    /// No export has that name.
    pub fn unknown(message: impl Into<String>) -> Refusal {
        Refusal { answer: answer::UNKNOWN, message: message.into() }
    }
}

/// A disk as one connection has it.
pub struct Export {
    /// What is read and written.
    pub disk: Disk,
    /// Whether writes are refused, be the disk a head.
    pub read_only: bool,
    /// For people.
    pub description: String,
    /// What it counts as in statistics.
    pub label: String,
    /// Shared by all exports of an image.
    pub fence: Arc<Fence>,
    /// Who this one is at the fence.
    pub me: u64,
    /// Set once a change was let through.
    pub written: Arc<AtomicBool>,
    /// Whatever [`Exports`] wants to know again.
    pub tag: Box<dyn Any + Send + Sync>,
}

/// Asked for the right to write by one who does not have it: whether he has it now.
type Asked = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// Keeps all but one of those that have an image open from writing it.
#[derive(Default)]
pub struct Fence {
    owner: AtomicU64,
    asked: Option<Asked>,
}

impl Fence {
    /// One whose owner may yield: `asked` is called with the number of whoever is about to write and is kept out.
    pub fn yielding(asked: impl Fn(u64) -> bool + Send + Sync + 'static) -> Fence {
        Fence { owner: AtomicU64::new(0), asked: Some(Box::new(asked)) }
    }

    /// Whether one may write, who asks for it where he has to.
    fn lets(&self, me: u64) -> bool {
        let owner = self.owner();
        owner == 0 || owner == me || self.asked.as_ref().is_some_and(|asked| asked(me))
    }

    /// Who alone may write; zero: everyone.
    pub fn owner(&self) -> u64 {
        self.owner.load(SeqCst)
    }

    /// Let one alone write, or (zero) everyone again.
    pub fn set_owner(&self, owner: u64) {
        self.owner.store(owner, SeqCst);
    }
}

impl Export {
    /// Refuse to write what must not be written, and remember that something was.
    pub fn check_writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::new(Kind::ReadOnly, "the export is read-only"));
        }
        if !self.fence.lets(self.me) {
            return Err(Error::new(
                Kind::ReadOnly,
                "another who has the image open holds the exclusive lock",
            ));
        }
        if !self.written.load(Relaxed) {
            self.written.store(true, Relaxed);
        }
        Ok(())
    }
}

/// The protocol's error for one of ours.
pub fn errno_of(kind: Kind) -> u32 {
    match kind {
        Kind::Invalid | Kind::Missing => errno::EINVAL,
        Kind::ReadOnly => errno::EPERM,
        Kind::NoSpace => errno::ENOSPC,
        Kind::Stale | Kind::Closed => errno::ESHUTDOWN,
        _ => errno::EIO,
    }
}
