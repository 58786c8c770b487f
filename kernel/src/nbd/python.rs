//! The NBD server in the Python module. Its meaning is in `_kernel.pyi`; here is only the way across.

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use pyo3::exceptions::{PyLookupError, PyPermissionError};
use pyo3::prelude::*;

use super::exports::{Export, Exports, Fence, Refusal};
use super::proto::answer;
use super::server::{ConnectionInfo, Encryption, Limits, Server};
use super::statistics::{BOUNDS, Counts};
use super::tls::{ServerFiles, ServerTls};
use crate::error::{Error, Kind};
use crate::ids::VersionId;
use crate::kernel::Kernel;
use crate::python::PyKernel;

#[pyclass(frozen, name = "Fence", module = "cowshed._kernel")]
struct PyFence {
    fence: Arc<Fence>,
}

#[pymethods]
impl PyFence {
    #[new]
    #[pyo3(signature = (asked=None))]
    fn new(asked: Option<Py<PyAny>>) -> PyFence {
        let Some(asked) = asked else {
            return PyFence { fence: Arc::default() };
        };
        let fence = Fence::yielding(move |me| {
            let answer = Python::try_attach(|py| {
                let answer = asked.bind(py).call1((me,)).and_then(|answer| answer.extract());
                answer.map_err(|error| error.write_unraisable(py, Some(asked.bind(py)))).unwrap_or(false)
            });
            answer.unwrap_or(false)
        });
        PyFence { fence: Arc::new(fence) }
    }

    #[getter]
    fn get_owner(&self) -> u64 {
        self.fence.owner()
    }

    #[setter]
    fn set_owner(&self, owner: u64) {
        self.fence.set_owner(owner);
    }
}

#[pyclass(frozen, name = "NbdExport", module = "cowshed._kernel")]
struct PyNbdExport {
    #[pyo3(get)]
    version: u64,
    #[pyo3(get)]
    read_only: bool,
    #[pyo3(get)]
    description: String,
    #[pyo3(get)]
    label: String,
    #[pyo3(get)]
    me: u64,
    cached: bool,
    fence: Arc<Fence>,
    written: Arc<AtomicBool>,
}

#[pymethods]
impl PyNbdExport {
    #[new]
    #[pyo3(signature = (version, *, read_only, description="", label="", fence=None, me=0, cached=true))]
    fn new(
        version: u64,
        read_only: bool,
        description: &str,
        label: &str,
        fence: Option<PyRef<'_, PyFence>>,
        me: u64,
        cached: bool,
    ) -> PyNbdExport {
        let fence = fence.map(|fence| fence.fence.clone()).unwrap_or_default();
        let (description, label) = (description.into(), label.into());
        PyNbdExport { version, read_only, description, label, me, cached, fence, written: Arc::default() }
    }

    #[getter]
    fn written(&self) -> bool {
        self.written.load(Relaxed)
    }
}

/// Asks a Python object.
struct PyExports {
    object: Py<PyAny>,
    kernel: Arc<Kernel>,
}

/// What a Python object is told about by: the export that it made.
type Tag = Py<PyNbdExport>;

impl PyExports {
    /// Call a method; `otherwise` where it raises or the interpreter is going down. What is raised is printed as
    /// unraisable, as no one here can handle it.
    fn ask<T>(&self, otherwise: T, call: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> T {
        let answer = Python::try_attach(|py| {
            let object = self.object.bind(py);
            call(object).map_err(|error| error.write_unraisable(py, Some(object))).ok()
        });
        answer.flatten().unwrap_or(otherwise)
    }

    fn try_open(&self, name: &str, peer: &str) -> Option<Result<Export, Refusal>> {
        let made = Python::try_attach(|py| {
            let made = self.object.bind(py).call_method1("open", (name, peer));
            made.and_then(|made| made.extract::<Tag>().map_err(PyErr::from))
                .map_err(|error| refusal(py, &error))
        })?;
        Some(made.and_then(|tag| {
            let made = tag.get();
            let disk = self.kernel.core().disk(VersionId(made.version));
            let fail = |error: Error| {
                self.ask((), |object| object.call_method1("close", (&tag, None::<&str>)).map(|_| ()));
                match error.kind {
                    Kind::Missing => Refusal::unknown(error.message),
                    _ => Refusal { answer: answer::PLATFORM, message: error.message },
                }
            };
            let disk = disk.map_err(fail)?;
            Ok(Export {
                disk: if made.cached { disk } else { disk.uncached() },
                read_only: made.read_only,
                description: made.description.clone(),
                label: made.label.clone(),
                fence: made.fence.clone(),
                me: made.me,
                written: made.written.clone(),
                tag: Box::new(tag),
            })
        }))
    }
}

fn refusal(py: Python<'_>, error: &PyErr) -> Refusal {
    let answer = if error.is_instance_of::<PyLookupError>(py) {
        answer::UNKNOWN
    } else if error.is_instance_of::<PyPermissionError>(py) {
        answer::POLICY
    } else {
        answer::PLATFORM
    };
    // Not `str` of a LookupError, which may be the `repr` of its argument.
    let words = error.value(py).getattr("args").and_then(|args| args.get_item(0));
    let message = words.and_then(|words| words.str().map(|s| s.to_string())).unwrap_or_default();
    Refusal { answer, message }
}

fn tag(export: &Export) -> &Tag {
    export.tag.downcast_ref().expect("put there on opening")
}

impl Exports for PyExports {
    fn open(&self, name: &str, peer: &str) -> Result<Export, Refusal> {
        let gone = || Refusal { answer: answer::SHUTDOWN, message: "the server is going down".into() };
        self.try_open(name, peer).unwrap_or_else(|| Err(gone()))
    }

    fn close(&self, export: &Export, fault: Option<&str>) {
        self.ask((), |object| object.call_method1("close", (tag(export), fault)).map(|_| ()));
    }

    fn names(&self) -> Vec<(String, String)> {
        self.ask(Vec::new(), |object| object.call_method0("names")?.extract())
    }

    fn snapshots(&self, export: &Export) -> Vec<String> {
        self.ask(Vec::new(), |object| object.call_method1("snapshots", (tag(export),))?.extract())
    }

    fn snapshot(&self, export: &Export, name: &str) -> Option<VersionId> {
        self.ask(None, |object| match object.call_method1("snapshot_version", (tag(export), name)) {
            Err(error) if error.is_instance_of::<PyLookupError>(object.py()) => Ok(None),
            other => Ok(Some(VersionId(other?.extract()?))),
        })
    }
}

#[pyclass(frozen, name = "ServerTls", module = "cowshed._kernel")]
struct PyServerTls {
    tls: ServerTls,
}

#[pymethods]
impl PyServerTls {
    #[new]
    #[pyo3(signature = (certificate, key, *, client_ca=None))]
    fn new(certificate: PathBuf, key: PathBuf, client_ca: Option<PathBuf>) -> PyResult<PyServerTls> {
        Ok(PyServerTls { tls: ServerTls::load(ServerFiles { certificate, key, client_ca })? })
    }

    fn reload(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.tls.reload())?)
    }
}

#[pyclass(frozen, get_all, name = "NbdConnection", module = "cowshed._kernel")]
struct PyConnection {
    id: u64,
    peer: String,
    label: String,
    since: f64,
    tls: bool,
}

impl From<ConnectionInfo> for PyConnection {
    fn from(info: ConnectionInfo) -> PyConnection {
        let since = info.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        PyConnection { id: info.id, peer: info.peer, label: info.label, since, tls: info.tls }
    }
}

#[pyclass(frozen, get_all, name = "NbdStatistics", module = "cowshed._kernel")]
struct PyStatistics {
    label: String,
    operation: &'static str,
    requests: u64,
    errors: u64,
    bytes: u64,
    seconds: f64,
    buckets: Vec<(f64, u64)>,
}

impl PyStatistics {
    fn new(label: &str, operation: &'static str, counts: &Counts) -> PyStatistics {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        PyStatistics {
            label: label.to_string(),
            operation,
            requests: get(&counts.requests),
            errors: get(&counts.errors),
            bytes: get(&counts.bytes),
            seconds: get(&counts.nanoseconds) as f64 / 1e9,
            buckets: bounds.zip(counts.buckets.iter().map(get)).collect(),
        }
    }
}

#[pyclass(frozen, name = "NbdServer", module = "cowshed._kernel")]
struct PyNbdServer {
    server: Server,
}

impl Drop for PyNbdServer {
    fn drop(&mut self) {
        // Connections that end tell Python of it, and must not wait for whoever drops this.
        Python::try_attach(|py| py.detach(|| self.server.stop(Duration::ZERO)));
    }
}

fn encryption(tls: Option<PyRef<'_, PyServerTls>>, required: bool) -> Encryption {
    Encryption { tls: tls.map(|tls| tls.tls.clone()), required }
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Ok(Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::invalid(format!("{seconds} is no number of seconds")))?)
}

#[pymethods]
impl PyNbdServer {
    #[new]
    #[pyo3(signature = (kernel, exports, *, max_connections=1024, handshake_seconds=10.0))]
    fn new(
        kernel: PyRef<'_, PyKernel>,
        exports: Py<PyAny>,
        max_connections: usize,
        handshake_seconds: f64,
    ) -> PyResult<PyNbdServer> {
        let limits = Limits { connections: max_connections, handshake: seconds(handshake_seconds)? };
        let exports = PyExports { object: exports, kernel: kernel.kernel.clone() };
        Ok(PyNbdServer { server: Server::new(Arc::new(exports), limits) })
    }

    #[pyo3(signature = (path, *, mode=0o600))]
    fn listen_unix(&self, path: PathBuf, mode: u32) -> PyResult<()> {
        Ok(self.server.listen_unix(&path, mode)?)
    }

    #[pyo3(signature = (host, port, *, tls=None, require_tls=true))]
    fn listen_tcp(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        tls: Option<PyRef<'_, PyServerTls>>,
        require_tls: bool,
    ) -> PyResult<u16> {
        let encryption = encryption(tls, require_tls);
        Ok(py.detach(|| self.server.listen_tcp(host, port, encryption))?)
    }

    #[pyo3(signature = (fd, *, tls=None, require_tls=false))]
    fn listen_fd(&self, fd: i32, tls: Option<PyRef<'_, PyServerTls>>, require_tls: bool) -> PyResult<()> {
        if fd < 0 {
            return Err(Error::invalid(format!("{fd} is no file descriptor")).into());
        }
        // SAFETY: the caller gives it away, as the docstring says.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(self.server.listen_fd(fd, encryption(tls, require_tls))?)
    }

    fn connections(&self) -> Vec<PyConnection> {
        self.server.connections().into_iter().map(PyConnection::from).collect()
    }

    fn statistics(&self) -> Vec<PyStatistics> {
        let mut all = Vec::new();
        for (label, counts) in self.server.statistics().all() {
            all.extend(counts.operations().map(|(name, counts)| PyStatistics::new(&label, name, counts)));
        }
        all
    }

    fn disconnect(&self, id: u64) -> bool {
        self.server.disconnect(id)
    }

    #[pyo3(signature = (drain_seconds=10.0))]
    fn stop(&self, py: Python<'_>, drain_seconds: f64) -> PyResult<bool> {
        let drain = seconds(drain_seconds)?;
        // Connections that end tell Python of it.
        Ok(py.detach(|| self.server.stop(drain)))
    }
}

/// Put the classes into the module.
pub fn add(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyFence>()?;
    m.add_class::<PyNbdExport>()?;
    m.add_class::<PyServerTls>()?;
    m.add_class::<PyConnection>()?;
    m.add_class::<PyStatistics>()?;
    m.add_class::<PyNbdServer>()
}
