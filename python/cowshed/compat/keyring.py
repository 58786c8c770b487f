"""Keyrings, and the keys in them: what lets a client of a cluster in, and here a client of a daemon.

    [client.cinder]
        key = AQBm…==

A key has the envelope that Ceph gives its keys (base64 of a kind, the time of making, a length and the
secret), so that whatever copies or checks keys takes it for one. Its secret holds the daemon's token and the
SHA-256 of the daemon's certificate: all that is needed to know the daemon, and to be known by it.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cowshed.compat.conf import Conf, parse
from cowshed.errors import InvalidArgument, NotFound, from_os_error

_ENVELOPE = struct.Struct("<HIIH")
"""Kind, seconds and nanoseconds of its making, length of the secret."""
_KIND = 1
_MARK = b"cowshed\x01"
"""Begins the secret, with the version of what follows: a length and the fingerprint, then the token."""
_FINGERPRINT_LENGTHS = (0, 32)
_ELSEWHERE = "`cowshed compat keyring` makes one"


@dataclass(frozen=True, slots=True)
class Key:
    """What a client shows to its daemon, and what it knows the daemon by."""

    token: str = field(repr=False)
    fingerprint: bytes | None
    """The SHA-256 of the daemon's certificate; None for a daemon without TLS, on this machine."""

    def __str__(self) -> str:
        """The key, as it stands in a keyring."""
        pinned = self.fingerprint or b""
        secret = _MARK + bytes([len(pinned)]) + pinned + self.token.encode()
        return base64.b64encode(_ENVELOPE.pack(_KIND, int(time.time()), 0, len(secret)) + secret).decode()

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key of a keyring. Raises InvalidArgument, whose words never hold the key itself."""
        try:
            whole = base64.b64decode("".join(text.split()), validate=True)
            kind, _, _, length = _ENVELOPE.unpack_from(whole)
        except (binascii.Error, ValueError, struct.error):
            raise InvalidArgument("the key cannot be read: it is damaged or cut short") from None
        secret = whole[_ENVELOPE.size :]
        if kind != _KIND or len(secret) != length:
            raise InvalidArgument("the key cannot be read: it is damaged or cut short")
        if not secret.startswith(_MARK):
            raise InvalidArgument(
                "the key is for a real cluster, and not for a cowshed daemon", hint=_ELSEWHERE
            )
        pinned = secret[len(_MARK)] if len(secret) > len(_MARK) else -1
        rest = secret[len(_MARK) + 1 :]
        try:
            token = rest[max(pinned, 0) :].decode("ascii")
        except UnicodeDecodeError:
            token = ""
        if pinned not in _FINGERPRINT_LENGTHS or not token.isprintable() or not token or " " in token:
            raise InvalidArgument("the key cannot be read: it is damaged or cut short")
        return cls(token, rest[:pinned] or None)


def write_keyring(keys: Mapping[str, str]) -> str:
    """The text of a keyring; `keys` by their entities, such as `client.cinder`."""
    return "".join(f"[{entity}]\n\tkey = {key}\n" for entity, key in keys.items())


def parse_keyring(text: str, origin: str = "the keyring") -> dict[str, str]:
    """The keys of a keyring by their entities; what else stands in it (`caps …`) is passed over.

    Raises FormatError.
    """
    sections = parse(text, origin)
    return {entity: keys["key"] for entity, keys in sections.items() if "key" in keys}


def find_key(conf: Conf) -> Key:
    """The key of the client that `conf` is for. Raises what `find_key_text` raises, and InvalidArgument."""
    return Key.parse(find_key_text(conf))


def find_key_text(conf: Conf) -> str:
    """The same as it is written: in `key`, in a file `keyfile`, or in an entry of a keyring.

    `keyring` may be several files, of which the first that is there counts, or the text of a keyring itself.
    Raises NotFound, FormatError, PermissionDenied, IOFailure.
    """
    if given := conf.given("key"):
        return given
    if path := conf.given("keyfile"):
        return _read(path).strip()
    places = [place for place in (conf.get("keyring") or "").replace(";", ",").split(",") if place.strip()]
    for place in (each.strip() for each in places):
        if os.path.exists(place):  # noqa: PTH110 - a name too long or odd is simply not there
            found = parse_keyring(_read(place), repr(place)).get(conf.name)
            if found is None:
                raise NotFound(f"the keyring {place!r} holds no key for {conf.name}", hint=_ELSEWHERE)
            return found
    raise NotFound(
        f"there is no keyring for {conf.name}: none of {', '.join(places) or 'no place'} is there",
        hint=_ELSEWHERE,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError as error:
        raise from_os_error(error, f"reading {path!r}") from None
