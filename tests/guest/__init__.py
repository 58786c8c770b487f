"""A Linux guest on a clone over NBD, which writes while snapshots are taken and things are killed.

- `debian_kernel`, `disk`, `inside/`: what the guest is made of; `conftest` puts it together, or skips.
- `machine`, `server`: the two processes, qemu and the daemon.
- `records`, `oracle`, `file_system`: what the guest writes, what its disk must hold, and how that is read.
"""
