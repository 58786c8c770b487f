"""The snapshot story on a real disk image: what `cowshed demo` shows. Uses the `Store` interface alone."""
