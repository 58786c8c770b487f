//! The Python class of a mounted disk; its documentation is in `_kernel.pyi`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::Error;
use crate::fuse::{Device, Mount, Options};
use crate::nbd::client_python::PyNbdClient;
use crate::nbd::lasting::Lasting;
use crate::python::PyDisk;

#[pyclass(frozen, name = "FuseMount", module = "cowshed._kernel")]
pub(crate) struct PyFuseMount {
    mount: Mount,
    path: PathBuf,
}

/// What can be mounted, of the classes of this module.
fn device(object: &Bound<'_, PyAny>, patience: Duration) -> PyResult<Arc<dyn Device>> {
    if let Ok(disk) = object.cast::<PyDisk>() {
        return Ok(Arc::new(disk.get().disk.clone()));
    }
    if let Ok(client) = object.cast::<PyNbdClient>() {
        return Ok(Arc::new(Lasting::new(client.get().client.clone(), patience)));
    }
    Err(PyTypeError::new_err("only a Disk or an NbdClient can be mounted"))
}

#[pymethods]
impl PyFuseMount {
    #[staticmethod]
    #[pyo3(signature = (disk, directory, *, file="disk", source="cowshed", read_only=false, threads=8,
        patience_seconds=0.0))]
    #[allow(clippy::too_many_arguments)]
    fn mount(
        py: Python<'_>,
        disk: &Bound<'_, PyAny>,
        directory: PathBuf,
        file: &str,
        source: &str,
        read_only: bool,
        threads: usize,
        patience_seconds: f64,
    ) -> PyResult<PyFuseMount> {
        let patience = Duration::try_from_secs_f64(patience_seconds)
            .map_err(|_| Error::invalid(format!("cannot wait {patience_seconds} seconds")))?;
        let device = device(disk, patience)?;
        let options = Options { file: OsString::from(file), source: source.to_string(), read_only, threads };
        let mount = py.detach(|| Mount::new(device, &directory, &options))?;
        Ok(PyFuseMount { mount, path: directory.join(file) })
    }

    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.path.as_os_str()
    }

    fn wait(&self, py: Python<'_>) -> Option<String> {
        py.detach(|| self.mount.wait())
    }

    fn unmount(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.mount.unmount())?)
    }
}
