//! Which process something belongs to. A fork has its parent's memory, but neither its threads nor the right to act
//! for it: what it did to the parent's files and sockets would come between what the parent does.

use std::ffi::c_int;
use std::fmt::Display;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Kind, Result};

/// How many forks lie between this process and the first that asked.
static FORKS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> c_int;
}

/// Runs in each new process before anything else does, where hardly anything is allowed.
unsafe extern "C" fn count() {
    FORKS.fetch_add(1, Relaxed);
}

/// The process in which something was made. Asking costs a look at memory, so every call may.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    forks: u64,
    pid: u32,
}

impl Home {
    /// This process.
    pub fn here() -> Home {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| {
            // SAFETY: the handler may be called in any process at any time, and this library is never unloaded.
            let failed = unsafe { pthread_atfork(None, None, Some(count)) };
            assert_eq!(failed, 0, "there is memory for a handler");
        });
        Home { forks: FORKS.load(Relaxed), pid: std::process::id() }
    }

    /// Whether this is still the same process, and no fork of it.
    pub fn is_here(self) -> bool {
        self.forks == FORKS.load(Relaxed)
    }

    /// Refuse to use `what` in a fork. To be called before any lock is taken: a thread of the parent's may have held it
    /// at the fork, and no one here will ever let it go.
    pub fn check(self, what: impl Display) -> Result<()> {
        if self.is_here() {
            return Ok(());
        }
        let (opened, this) = (self.pid, std::process::id());
        Err(Error::new(
            Kind::Forked,
            format!("{what} was opened by process {opened}, of which this one, {this}, is a fork"),
        ))
    }
}
