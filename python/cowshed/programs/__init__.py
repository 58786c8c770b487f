"""The command lines by other names: `rbd`, `ceph`, `qemu-img`, as programs that know a cluster call them."""
