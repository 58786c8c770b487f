"""A process for each service, with its unmodified driver in it.

The parent (`process.py`) is a test; the child (`service.py`) imports OpenStack's code and the modules that
its target names. The child knows this folder by the name `harness`, so that `openstack` stays OpenStack's.
"""
