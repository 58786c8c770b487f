"""Bearer tokens: who may use the daemon over TCP, and for what.

A token is 256 random bits, so its SHA-256 is as hard to turn back as guessing it: the slow hashes that
passwords need protect what people choose, which can be guessed. The file `tokens.json` in the store
holds only the hashes; the token itself is shown once, when it is made.

The command line changes the file, with or without a daemon; a daemon looks at it at each request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cowshed.errors import AlreadyExists, InvalidArgument, NotFound, StoreDamaged, from_os_error
from cowshed.wire.operations import ROLES, Role

FILE = "tokens.json"
PREFIX = "cowshed_"
"""Begins each token, so that people and scanners for leaked secrets know what it is."""

_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; its text is not."""

    name: str
    role: Role
    pools: tuple[str, ...] | None
    """The pools that it is good for; None for all."""
    created: float
    expires: float | None
    """When it ends, in seconds since 1970; None for never."""
    sha256: str
    """Of the token's text, in hexadecimal."""

    def valid(self, now: float) -> bool:
        """Whether it has not ended."""
        return self.expires is None or now < self.expires


class Tokens:
    """The tokens of the store in `directory`. Methods may be called from several threads and processes.

    All raise StoreDamaged when the file cannot be understood, and what `from_os_error` makes of an OSError.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._path = self._directory / FILE
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._tokens: list[Token] = []

    def need_store(self) -> None:
        """Raises NotFound unless the directory holds a store."""
        if not (self._directory / "catalog").exists():
            raise NotFound(
                f"no store at {str(self._directory)!r}", hint=f"`cowshed init {self._directory}` makes one"
            )

    def entries(self) -> Sequence[Token]:
        """All of them, in the order they were made."""
        with self._lock:
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self._seen, self._tokens = None, []
                return []
            except OSError as error:
                raise from_os_error(error, f"reading {str(self._path)!r}") from None
            # The file is never changed in place, so that a new content is a new inode.
            state = (status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size)
            if state != self._seen:
                self._tokens = self._read()
                self._seen = state
            return tuple(self._tokens)

    def create(
        self,
        name: str,
        role: Role,
        *,
        pools: Sequence[str] | None = None,
        expires: float | None = None,
    ) -> str:
        """Make a token, and return its text, which cannot be had again.

        Raises AlreadyExists for a name that another has, also if that one has expired, InvalidArgument.
        """
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} cannot be a token's name",
                hint="letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit",
            )
        if role not in ROLES:
            raise InvalidArgument(f"{role!r} is no role", hint=f"one of: {', '.join(ROLES)}")
        text = PREFIX + secrets.token_urlsafe(32)
        token = Token(
            name=name,
            role=role,
            pools=None if pools is None else tuple(dict.fromkeys(pools)),
            created=time.time(),
            expires=expires,
            sha256=_hash(text),
        )
        with self._changing() as tokens:
            if any(other.name == name for other in tokens):
                raise AlreadyExists(
                    f"there is a token {name!r} already", hint=f"`cowshed token rm {name}` ends it"
                )
            tokens.append(token)
        return text

    def remove(self, name: str) -> None:
        """End a token. Raises NotFound."""
        with self._changing() as tokens:
            kept = [token for token in tokens if token.name != name]
            if len(kept) == len(tokens):
                raise NotFound(f"there is no token {name!r}", hint="`cowshed token ls` lists them")
            tokens[:] = kept

    def find(self, text: str, *, now: float | None = None) -> Token | None:
        """The token with this text, if there is one and it has not expired."""
        moment = time.time() if now is None else now
        presented = _hash(text)
        found = None
        # All are compared, each in constant time: how long it takes says nothing about any of them.
        for token in self.entries():
            if hmac.compare_digest(token.sha256, presented):
                found = token
        return found if found is not None and found.valid(moment) else None

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """The tokens as they are now; those left in the list at the end replace them, all or nothing."""
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise NotFound(f"no store at {str(self._directory)!r}") from None
        except OSError as error:
            raise from_os_error(error, f"opening {str(self._directory)!r}") from None
        try:
            # The directory itself is what is locked: the file is another one after each change.
            fcntl.flock(fd, fcntl.LOCK_EX)
            tokens = self._read()
            yield tokens
            self._replace(tokens, fd)
        except OSError as error:
            raise from_os_error(error, f"writing {str(self._path)!r}") from None
        finally:
            os.close(fd)

    def _read(self) -> list[Token]:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise from_os_error(error, f"reading {str(self._path)!r}") from None
        try:
            document = json.loads(text)
            if document["version"] != _VERSION:
                raise StoreDamaged(
                    f"{str(self._path)!r} was written by another cowshed", hint="use a newer cowshed"
                )
            return [_decoded(entry) for entry in document["tokens"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDamaged(
                f"{str(self._path)!r} cannot be understood: {error}",
                hint="remove it and make new tokens",
            ) from None

    def _replace(self, tokens: Sequence[Token], directory: int) -> None:
        document = {"version": _VERSION, "tokens": [_encoded(token) for token in tokens]}
        new = self._path.with_name(f".{FILE}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                if os.geteuid() == 0:
                    # Root makes tokens for a daemon that runs as the store's owner, and must read them.
                    owner = os.fstat(directory)
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                json.dump(document, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise
        os.fsync(directory)


def bearer(header: str | None) -> str | None:
    """The token in an `Authorization` header; None where there is none of that kind."""
    kind, _, text = (header or "").partition(" ")
    return text.strip() or None if kind.lower() == "bearer" else None


def parse_duration(text: str) -> float:
    """Seconds that `30d`, `12h`, `90m`, `2w` or `45s` means. Raises InvalidArgument."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip(), re.ASCII)
    if not found or int(found[1]) == 0:
        raise InvalidArgument(f"{text!r} is not a time", hint="write a number and s, m, h, d or w: 30d")
    return float(int(found[1]) * units[found[2]])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _encoded(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "pools": None if token.pools is None else list(token.pools),
        "created": token.created,
        "expires": token.expires,
        "sha256": token.sha256,
    }


def _decoded(entry: dict[str, Any]) -> Token:
    role, digest, pools = entry["role"], entry["sha256"], entry["pools"]
    if role not in ROLES:
        raise ValueError(f"no role {role!r}")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError("a hash of another kind")
    # Read strictly: a list that is damaged must never become "all pools".
    if pools is not None and (not isinstance(pools, list) or not all(isinstance(p, str) for p in pools)):
        raise ValueError("pools that are none")
    expires = entry["expires"]
    return Token(
        name=str(entry["name"]),
        role=role,
        pools=None if pools is None else tuple(pools),
        created=float(entry["created"]),
        expires=None if expires is None else float(expires),
        sha256=digest,
    )
