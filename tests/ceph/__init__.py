"""A real Ceph cluster of one node, for tests that ask it what is true."""
