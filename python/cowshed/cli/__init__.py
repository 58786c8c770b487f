"""The command line: a face on the `Store` interface, in the shape of rbd(8)."""
