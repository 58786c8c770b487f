//! The Python module `cowshed._kernel`. Its meaning is in `_kernel.pyi`; here is only the way across.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffers::{Bytes, filled, with_bytes};
use crate::disk::{self, Extent};
use crate::error::{Error, Kind};
use crate::fuse_python::PyFuseMount;
use crate::ids::{BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use crate::kernel::{Kernel, Options};
use crate::nbd::client_python;
use crate::reclaim::Eager;
use crate::rows::{FORMAT_VERSION, VersionRow, VersionState};
use crate::transaction::Op;

/// Bytes that a read may take before its range is looked at.
const MEMORY_UNASKED: usize = 1 << 20;

create_exception!(_kernel, KernelError, PyException);

type Pairs<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let kind = error.kind.name();
        let raised = KernelError::new_err(error.message);
        Python::attach(|py| match raised.value(py).setattr("kind", kind) {
            Ok(()) => raised,
            Err(other) => other,
        })
    }
}

#[pyclass(frozen, get_all, name = "VersionInfo", module = "cowshed._kernel")]
struct PyVersionInfo {
    id: u64,
    head: bool,
    hidden: bool,
    parent: Option<u64>,
    children: u64,
    size: u64,
    mapped_blocks: u64,
}

impl PyVersionInfo {
    fn new(id: VersionId, row: &VersionRow) -> PyVersionInfo {
        PyVersionInfo {
            id: id.0,
            head: row.state == VersionState::Head,
            hidden: !row.state.visible(),
            parent: row.parent.map(|parent| parent.0),
            children: row.children,
            size: row.size,
            mapped_blocks: row.mapped,
        }
    }
}

#[pyclass(frozen, get_all, name = "SpaceInfo", module = "cowshed._kernel")]
struct PySpaceInfo {
    used_blocks: u64,
    free_blocks: u64,
    pending_blocks: u64,
    unpunched_chunks: u64,
    versions: u64,
    hidden_versions: u64,
    dying_versions: u64,
    pages: u64,
    keys: u64,
    metadata_bytes: u64,
    catalog_bytes: u64,
    blocks_file_bytes: u64,
    cache_bytes: u64,
}

#[pyclass(frozen, name = "Kernel", module = "cowshed._kernel")]
pub(crate) struct PyKernel {
    pub(crate) kernel: Arc<Kernel>,
}

#[pymethods]
impl PyKernel {
    #[staticmethod]
    fn create(py: Python<'_>, path: PathBuf) -> PyResult<()> {
        Ok(py.detach(|| Kernel::create(&path))?)
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, cache_bytes=67108864, wait_seconds=0.0, owner="", background=true))]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        cache_bytes: u64,
        wait_seconds: f64,
        owner: &str,
        background: bool,
    ) -> PyResult<PyKernel> {
        let wait = Duration::try_from_secs_f64(wait_seconds)
            .map_err(|_| Error::invalid(format!("cannot wait {wait_seconds} seconds")))?;
        let options = Options { cache_bytes, wait, owner: owner.to_string(), background };
        let kernel = py.detach(|| Kernel::open(&path, &options))?;
        Ok(PyKernel { kernel: Arc::new(kernel) })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.kernel.close())?)
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn transaction(&self) -> PyTransaction {
        PyTransaction { kernel: self.kernel.clone(), ops: Some(Vec::new()) }
    }

    fn get<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let value = py.detach(|| self.kernel.core().key(key))?;
        Ok(value.map(|value| PyBytes::new(py, &value)))
    }

    #[pyo3(signature = (prefix, *, after=None, limit=1000))]
    fn scan<'py>(
        &self,
        py: Python<'py>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> PyResult<Pairs<'py>> {
        let pairs = py.detach(|| self.kernel.core().scan(prefix, after, limit.max(1)))?;
        let bytes = |bytes: Vec<u8>| PyBytes::new(py, &bytes);
        Ok(pairs.into_iter().map(|(k, v)| (bytes(k), bytes(v))).collect())
    }

    fn version(&self, py: Python<'_>, version: u64) -> PyResult<PyVersionInfo> {
        let id = VersionId(version);
        let row = py.detach(|| self.kernel.core().version(id))?;
        Ok(PyVersionInfo::new(id, &row))
    }

    #[pyo3(signature = (version, *, after=0, limit=1000))]
    fn children(&self, py: Python<'_>, version: u64, after: u64, limit: usize) -> PyResult<Vec<u64>> {
        let children =
            py.detach(|| self.kernel.core().children(VersionId(version), VersionId(after), limit.max(1)))?;
        Ok(children.into_iter().map(|id| id.0).collect())
    }

    #[pyo3(signature = (*, after=0, limit=1000))]
    fn versions(&self, py: Python<'_>, after: u64, limit: usize) -> PyResult<Vec<PyVersionInfo>> {
        let rows = py.detach(|| self.kernel.versions(VersionId(after), limit.max(1)))?;
        Ok(rows.iter().map(|(id, row)| PyVersionInfo::new(*id, row)).collect())
    }

    #[pyo3(signature = (version, *, cached=true))]
    fn disk(&self, py: Python<'_>, version: u64, cached: bool) -> PyResult<PyDisk> {
        let disk = py.detach(|| self.kernel.core().disk(VersionId(version)))?;
        Ok(PyDisk { disk: if cached { disk } else { disk.uncached() } })
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.kernel.core().flush())?)
    }

    #[pyo3(signature = (old, new, *, offset=0, length=None, limit=4096))]
    fn diff(
        &self,
        py: Python<'_>,
        old: Option<u64>,
        new: u64,
        offset: u64,
        length: Option<u64>,
        limit: usize,
    ) -> PyResult<(Vec<Extent>, Option<u64>)> {
        let old = old.map(VersionId);
        Ok(py.detach(|| self.kernel.core().diff(old, VersionId(new), offset, length, limit))?)
    }

    fn exclusive_blocks(&self, py: Python<'_>, version: u64) -> PyResult<u64> {
        Ok(py.detach(|| self.kernel.core().exclusive_blocks(VersionId(version)))?)
    }

    fn hidden_blocks(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(py.detach(|| self.kernel.core().hidden_blocks())?)
    }

    #[pyo3(signature = (budget=4096))]
    fn reclaim(&self, py: Python<'_>, budget: u64) -> PyResult<u64> {
        Ok(py.detach(|| self.kernel.core().reclaim(budget.max(1), Eager::Now))?)
    }

    fn space(&self, py: Python<'_>) -> PyResult<PySpaceInfo> {
        let report = py.detach(|| self.kernel.space())?;
        Ok(PySpaceInfo {
            used_blocks: report.used_blocks,
            free_blocks: report.free_blocks,
            pending_blocks: report.pending_blocks,
            unpunched_chunks: report.unpunched_chunks,
            versions: report.versions,
            hidden_versions: report.hidden_versions,
            dying_versions: report.dying_versions,
            pages: report.pages,
            keys: report.keys,
            metadata_bytes: report.metadata_bytes,
            catalog_bytes: report.catalog_bytes,
            blocks_file_bytes: report.blocks_file_bytes,
            cache_bytes: report.cache_bytes,
        })
    }

    fn check(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(py.detach(|| self.kernel.check())?)
    }
}

#[pyclass(name = "Transaction", module = "cowshed._kernel")]
struct PyTransaction {
    kernel: Arc<Kernel>,
    /// `None` once committed or forgotten.
    ops: Option<Vec<Op>>,
}

impl PyTransaction {
    fn push(&mut self, op: Op) -> PyResult<()> {
        match &mut self.ops {
            Some(ops) => {
                ops.push(op);
                Ok(())
            }
            None => Err(PyRuntimeError::new_err("the transaction is over")),
        }
    }

    fn push_new(&mut self, op: impl FnOnce(VersionId) -> Op) -> PyResult<u64> {
        let id = self.kernel.core().new_version();
        self.push(op(id))?;
        Ok(id.0)
    }
}

#[pymethods]
impl PyTransaction {
    fn create(&mut self, size: u64) -> PyResult<u64> {
        self.push_new(|id| Op::Create(id, size))
    }

    fn freeze(&mut self, head: u64) -> PyResult<u64> {
        self.push_new(|id| Op::Freeze(VersionId(head), id))
    }

    fn derive(&mut self, frozen: u64) -> PyResult<u64> {
        self.push_new(|id| Op::Derive(VersionId(frozen), id))
    }

    fn drop(&mut self, version: u64) -> PyResult<()> {
        self.push(Op::Drop(VersionId(version)))
    }

    fn rollback(&mut self, head: u64, frozen: u64) -> PyResult<()> {
        self.push(Op::Rollback(VersionId(head), VersionId(frozen)))
    }

    fn resize(&mut self, head: u64, size: u64) -> PyResult<()> {
        self.push(Op::Resize(VersionId(head), size))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> PyResult<()> {
        self.push(Op::Put(key, value))
    }

    fn delete(&mut self, key: Vec<u8>) -> PyResult<()> {
        self.push(Op::Delete(key))
    }

    #[pyo3(signature = (key, value))]
    fn require(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> PyResult<()> {
        self.push(Op::Require(key, value))
    }

    fn commit(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(ops) = self.ops.take() else {
            return Err(PyRuntimeError::new_err("the transaction is over"));
        };
        let kernel = self.kernel.clone();
        Ok(py.detach(move || kernel.core().transact(&ops))?)
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    #[pyo3(signature = (kind, _value, _trace))]
    fn __exit__(
        &mut self,
        py: Python<'_>,
        kind: Option<Bound<'_, PyAny>>,
        _value: Option<Bound<'_, PyAny>>,
        _trace: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if kind.is_some() {
            self.ops = None;
            return Ok(());
        }
        if self.ops.is_some() { self.commit(py) } else { Ok(()) }
    }
}

#[pyclass(frozen, name = "Disk", module = "cowshed._kernel")]
pub(crate) struct PyDisk {
    pub(crate) disk: disk::Disk,
}

#[pymethods]
impl PyDisk {
    #[getter]
    fn version(&self) -> u64 {
        self.disk.version().0
    }

    #[getter]
    fn size(&self) -> PyResult<u64> {
        self.disk.core.check_home()?;
        Ok(self.disk.size())
    }

    #[getter]
    fn read_only(&self) -> PyResult<bool> {
        self.disk.core.check_home()?;
        Ok(self.disk.read_only())
    }

    fn read<'py>(&self, py: Python<'py>, offset: u64, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        if length > MEMORY_UNASKED {
            self.disk.core.check_home()?;
            self.disk.check_range(offset, length as u64)?;
        }
        filled(py, length, |buffer| self.disk.read(offset, buffer))
    }

    fn read_into(&self, py: Python<'_>, offset: u64, buffer: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = Bytes::new(buffer, true)?;
        Ok(py.detach(|| self.disk.read(offset, bytes.as_mut_slice()))?)
    }

    fn write(&self, py: Python<'_>, offset: u64, data: &Bound<'_, PyAny>) -> PyResult<()> {
        with_bytes(py, data, |data| self.disk.write(offset, data))
    }

    fn discard(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        Ok(py.detach(|| self.disk.discard(offset, length))?)
    }

    fn write_zeroes(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        Ok(py.detach(|| self.disk.discard(offset, length))?)
    }

    fn sparsify(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<u64> {
        Ok(py.detach(|| self.disk.sparsify(offset, length))? * BLOCK_SIZE)
    }

    #[pyo3(signature = (offset, length, *, limit=4096))]
    fn extents(&self, py: Python<'_>, offset: u64, length: u64, limit: usize) -> PyResult<Vec<Extent>> {
        Ok(py.detach(|| self.disk.extents(offset, length, limit.max(1)))?)
    }
}

#[pymodule]
fn _kernel(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("BLOCK_SIZE", BLOCK_SIZE)?;
    m.add("MAX_DISK_SIZE", MAX_DISK_SIZE)?;
    m.add("FORMAT_VERSION", FORMAT_VERSION)?;
    let error = m.py().get_type::<KernelError>();
    error.setattr("kind", Kind::Io.name())?;
    m.add("KernelError", error)?;
    m.add_class::<PyVersionInfo>()?;
    m.add_class::<PySpaceInfo>()?;
    m.add_class::<PyKernel>()?;
    m.add_class::<PyTransaction>()?;
    m.add_class::<PyDisk>()?;
    m.add_class::<PyFuseMount>()?;
    client_python::register(m)?;
    crate::nbd::python::add(m)
}
