"""Programs that go by the names of Ceph's: `rbd`, `ceph` and `qemu-img`."""
