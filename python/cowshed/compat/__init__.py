"""The face that programs written for Ceph RBD know: modules `rbd` and `rados`, programs `rbd` and `ceph`.

`modules/` holds the modules under their own names; it is on no one's path unless asked (`cowshed compat path`).
"""
