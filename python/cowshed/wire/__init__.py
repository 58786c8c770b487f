"""What the daemon and the remote engine share: operations, records, errors and names on the wire.

Light on purpose: the client side loads nothing but this and the standard library.
"""
