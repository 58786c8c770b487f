//! A store in memory with one image and a snapshot of it, served at a socket in a temporary directory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use cowshed_kernel::core::Core;
use cowshed_kernel::ids::VersionId;
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::nbd::exports::{Export, Exports, Fence, Refusal};
use cowshed_kernel::nbd::proto::answer;
use cowshed_kernel::nbd::server::{Limits, Server};
use cowshed_kernel::storage::{MemoryStorage, Storage};
use cowshed_kernel::transaction::Op;
use parking_lot::Mutex;

/// Bytes of the image: not a multiple of a block.
pub const SIZE: u64 = (8 << 20) + 1000;

/// What is served: `disk`, `disk@NAME` for each snapshot, `secret`, which no one may open, and `other`.
pub struct Shelf {
    pub kernel: Kernel,
    pub head: VersionId,
    pub other: VersionId,
    pub fence: Arc<Fence>,
    pub snapshots: Mutex<BTreeMap<String, VersionId>>,
    /// Exports open now; opening another one of a connection or asking about one counts, too.
    pub open: AtomicUsize,
    pub faults: Mutex<Vec<String>>,
    next: AtomicU64,
}

pub struct Serving {
    pub shelf: Arc<Shelf>,
    pub server: Server,
    pub socket: PathBuf,
    room: PathBuf,
}

impl Shelf {
    pub fn core(&self) -> &Arc<Core> {
        self.kernel.core()
    }

    pub fn snapshot(&self, name: &str) -> VersionId {
        let id = self.core().new_version();
        self.core().transact(&[Op::Freeze(self.head, id)]).unwrap();
        self.snapshots.lock().insert(name.into(), id);
        id
    }
}

impl Exports for Shelf {
    fn open(&self, name: &str, _peer: &str) -> Result<Export, Refusal> {
        let version = match name {
            "disk" => self.head,
            "other" => self.other,
            "secret" => return Err(Refusal { answer: answer::POLICY, message: "not for you".into() }),
            _ => {
                let snapshot =
                    name.strip_prefix("disk@").and_then(|name| self.snapshots.lock().get(name).copied());
                snapshot.ok_or_else(|| Refusal::unknown(format!("there is no {name:?}")))?
            }
        };
        let disk = self.core().disk(version).map_err(|e| Refusal::unknown(e.message))?;
        self.open.fetch_add(1, SeqCst);
        Ok(Export {
            read_only: disk.read_only(),
            disk,
            description: format!("this is {name}"),
            label: name.into(),
            fence: self.fence.clone(),
            me: self.next.fetch_add(1, SeqCst) + 1,
            written: Arc::default(),
            tag: Box::new(()),
        })
    }

    fn close(&self, _export: &Export, fault: Option<&str>) {
        self.open.fetch_sub(1, SeqCst);
        self.faults.lock().extend(fault.map(String::from));
    }

    fn names(&self) -> Vec<(String, String)> {
        vec![("disk".into(), "the disk".into()), ("other".into(), String::new())]
    }

    fn snapshots(&self, _export: &Export) -> Vec<String> {
        self.snapshots.lock().keys().cloned().collect()
    }

    fn snapshot(&self, _export: &Export, name: &str) -> Option<VersionId> {
        self.snapshots.lock().get(name).copied()
    }
}

impl Serving {
    pub fn new(limits: Limits) -> Serving {
        Serving::on(Arc::new(MemoryStorage::default()), limits)
    }

    /// The same with a storage of the caller's for the blocks.
    pub fn on(blocks: Arc<dyn Storage>, limits: Limits) -> Serving {
        let catalog = Arc::new(MemoryStorage::default());
        Core::create(&*blocks, catalog.clone(), [7; 16]).unwrap();
        let options = Options { background: false, ..Options::default() };
        let kernel = Kernel::open_storage(blocks, catalog, &options).unwrap();
        let core = kernel.core();
        let (head, other) = (core.new_version(), core.new_version());
        core.transact(&[Op::Create(head, SIZE), Op::Create(other, 1 << 40)]).unwrap();
        let shelf = Arc::new(Shelf {
            kernel,
            head,
            other,
            fence: Arc::default(),
            snapshots: Mutex::default(),
            open: AtomicUsize::new(0),
            faults: Mutex::default(),
            next: AtomicU64::new(0),
        });
        static ROOMS: AtomicU64 = AtomicU64::new(0);
        let name = format!("cowshed-nbd-{}-{}", std::process::id(), ROOMS.fetch_add(1, SeqCst));
        let room = std::env::temp_dir().join(name);
        std::fs::create_dir(&room).unwrap();
        let socket = room.join("socket");
        let server = Server::new(shelf.clone(), limits);
        server.listen_unix(&socket, 0o600).unwrap();
        Serving { shelf, server, socket, room }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.stop(std::time::Duration::from_secs(1));
        let _ = std::fs::remove_dir_all(&self.room);
    }
}
