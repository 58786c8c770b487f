"""The daemon: one process that owns a store and serves it to many, by REST and by NBD."""
