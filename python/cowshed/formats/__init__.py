"""Formats of what comes from outside and goes there: bytes in, records out, and back."""
