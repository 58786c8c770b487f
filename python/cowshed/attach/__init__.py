"""Images on this host and in its virtual machines: block devices, and what qemu and libvirt are told.

All of it goes through the daemon's NBD server, as one client more. `server` is where that is, `printed` the
settings for qemu and libvirt, `rbd_disks` the same from what OpenStack says; `devices` maps, unmaps and
lists, `register` remembers what is mapped, `links` names it as rbd's devices are; `kernel_nbd` and `mapper`
(with `loop`) are the two ways to make a block device.
"""

DEVICE_TYPES = ("auto", "nbd", "ublk", "fuse")
"""What can make the block device; `ublk` is known, and not built."""
FORMS = ("qemu", "blockdev", "libvirt")
"""As what the settings for a virtual machine are printed."""
PATIENCE = 300.0
"""Seconds that requests of a mapped device wait for a daemon that has gone away, unless told otherwise."""
