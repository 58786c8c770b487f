"""What a client may use and how it enters, and who is kept out."""

from __future__ import annotations

import errno

from cowshed.compat.conf import normal
from cowshed.compat.keyring import find_key_text, write_keyring
from cowshed.compat.monitor.asking import Asker, Fields, Made, Refused
from cowshed.errors import CowshedError


def config_get(here: Asker, asked: Fields) -> Made:
    key = asked.get("key")
    found = here.conf.get(normal(key)) if isinstance(key, str) else None
    if found is None:
        raise Refused(errno.ENOENT, f"unrecognized key '{key}'")
    return (int(found) if found.isdecimal() else found), ""


def _own_key(here: Asker, asked: Fields) -> tuple[str, str]:
    """An entity and its key. A client is told its own, which it has: others' are known to nobody here."""
    entity = asked.get("entity")
    if entity == here.conf.name:
        try:
            return here.conf.name, find_key_text(here.conf)
        except CowshedError as error:
            raise Refused(errno.ENOENT, f"don't have {entity}: {error}") from error
    raise Refused(errno.ENOENT, f"don't have {entity}")


def auth_get_key(here: Asker, asked: Fields) -> Made:
    return {"key": _own_key(here, asked)[1]}, ""


def auth_get(here: Asker, asked: Fields) -> Made:
    entity, key = _own_key(here, asked)
    if asked.get("format") in ("json", "json-pretty"):
        return [{"entity": entity, "key": key, "caps": {}}], f"exported keyring for {entity}"
    return write_keyring({entity: key}), f"exported keyring for {entity}"


def blocklist(here: Asker, asked: Fields) -> Made:
    return [], "listed 0 entries"


def blocklist_add(here: Asker, asked: Fields) -> Made:
    return None, f"blocklisting {asked.get('addr', '')}"
