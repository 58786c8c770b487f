"""The face that programs written for Ceph RBD know: modules `rbd` and `rados`, programs `rbd` and `ceph`.

`modules/` holds the modules under their own names; no one has it on his path who does not ask
(`cowshed compat path`).
"""
