"""What a pool is said to be for: `rbd`, as all of a store, and what was noted, which an object keeps."""

from __future__ import annotations

import errno

from cowshed.compat.rados.errors import asking, make_ex, name_text
from cowshed.compat.rados.objects import HIDDEN
from cowshed.compat.scope import Scoped
from cowshed.errors import NotFound
from cowshed.store import ObjectStep, steps

_OBJECT = "applications"
_PAGE = 1000


class Applications(Scoped):
    """The part of an Ioctx that notes a pool's applications, and pairs of key and value with each."""

    def application_enable(self, app_name: str, force: bool = False) -> None:
        """Note an application. Raises PermissionError for another than there is, but with `force`."""
        what = "error enabling application"
        found = self._noted(what)
        if name_text(app_name, "app_name") not in found and not force:
            raise make_ex(errno.EPERM, what)
        self._note(what, steps.set_omap({f"{app_name}/": b""}))

    def application_list(self) -> list[str]:
        """Those that were noted, and `rbd`."""
        return sorted(self._noted("error listing applications"))

    def application_metadata_get(self, app_name: str, key: str) -> str:
        """Raises KeyError."""
        found = self._of(app_name, "error getting application metadata")
        if name_text(key, "key") not in found:
            raise KeyError(f"no metadata {key} for application {app_name.encode()!r}")
        return found[key]

    def application_metadata_set(self, app_name: str, key: str, value: str) -> None:
        """Raises ObjectNotFound for an application that was not noted."""
        what = "error setting application metadata"
        self._of(app_name, what)
        pair = {f"{app_name}/{name_text(key, 'key')}": name_text(value, "value").encode()}
        self._note(what, steps.set_omap(pair))

    def application_metadata_remove(self, app_name: str, key: str) -> None:
        """Raises ObjectNotFound for an application that was not noted."""
        what = "error removing application metadata"
        self._of(app_name, what)
        self._note(what, steps.create(), steps.remove_omap([f"{app_name}/{name_text(key, 'key')}"]))

    def application_metadata_list(self, app_name: str) -> list[tuple[str, str]]:
        """By key. Raises ObjectNotFound for an application that was not noted."""
        return sorted(self._of(app_name, "error listing application metadata").items())

    def _of(self, app_name: str, what: str) -> dict[str, str]:
        found = self._noted(what).get(name_text(app_name, "app_name"))
        if found is None:
            raise make_ex(errno.ENOENT, what)
        return found

    def _noted(self, what: str) -> dict[str, dict[str, str]]:
        here, after = self.scope(), ""
        found: dict[str, dict[str, str]] = {"rbd": {}}
        with asking(what):
            while True:
                try:
                    page = here.store.object_omap(
                        here.pool, _OBJECT, namespace=HIDDEN, after=after, limit=_PAGE
                    )
                except NotFound:
                    here.store.namespaces(here.pool)  # raises NotFound if it was the pool
                    return found
                for name, value in page.values.items():
                    application, _, key = name.partition("/")
                    pairs = found.setdefault(application, {})
                    if key:
                        pairs[key] = value.decode(errors="replace")
                    after = name
                if not page.more:
                    return found

    def _note(self, what: str, *change: ObjectStep) -> None:
        here = self.scope()
        with asking(what):
            here.store.change_object(here.pool, _OBJECT, change, namespace=HIDDEN)
