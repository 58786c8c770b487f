"""glance-api's half: glance_store's RBD driver as a store among enabled_backends, as devstack sets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glance_store import multi_backend
from oslo_config import cfg

from .contents import sha256

STORE = "robust_rbd"


class Room:
    """Image data in and out, by Glance's own interface to its stores."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.conf = cfg.CONF
        self.conf.register_opt(cfg.DictOpt("enabled_backends"))
        lines = [
            "[DEFAULT]",
            f"enabled_backends = {STORE}:rbd",
            "[glance_store]",
            f"default_backend = {STORE}",
            f"[{STORE}]",
            f"rbd_store_pool = {settings.get('pool', 'images')}",
            f"rbd_store_user = {settings.get('user', 'glance')}",
            f"rbd_store_ceph_conf = {settings['conf']}",
            f"rbd_store_chunk_size = {settings.get('chunk', 8)}",
            f"rbd_thin_provisioning = {settings.get('thin', False)}",
            f"rados_connect_timeout = {settings.get('timeout', -1)}",
        ]
        file = Path(settings["work"]) / "glance-api.conf"
        file.write_text("\n".join(lines) + "\n")
        # The store's own group is known once enabled_backends is.
        self.conf(["--config-file", str(file)], project="glance")
        multi_backend.register_store_opts(self.conf)
        multi_backend.create_multi_stores(self.conf)
        multi_backend.verify_store()

    def add(self, image_id: str, path: str, size: int | None = None) -> dict[str, Any]:
        """Upload; `size` as the client declared it (0: not at all), the file's own by default."""
        declared = Path(path).stat().st_size if size is None else size
        with Path(path).open("rb") as file:
            url, written, _checksum, multihash, metadata = multi_backend.add_with_multihash(
                self.conf, image_id, file, declared, STORE, "sha256"
            )
        return {"url": url, "size": written, "sha256": multihash, "metadata": metadata}

    def read(self, url: str) -> dict[str, Any]:
        """Download."""
        pieces, size = multi_backend.get(url, STORE)
        return {"size": size, "sha256": sha256(pieces)}

    def size(self, url: str) -> int:
        return int(multi_backend.get_size_from_uri_and_backend(url, STORE))

    def delete(self, url: str) -> None:
        multi_backend.delete(url, STORE)
