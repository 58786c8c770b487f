"""Cinder's database, as far as the drivers ask it: volumes, snapshots and backups, in memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


class Row:
    """A record that is read by attribute and by key, as Cinder's own are."""

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for each in fields(self):  # type: ignore[arg-type]
            yield each.name, getattr(self, each.name)

    def save(self) -> None:
        """Nothing to do: there is one copy."""


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass
class VolumeType(Row):
    extra_specs: dict[str, str] = field(default_factory=dict)
    qos_specs_id: str | None = None


@dataclass
class Volume(Row):
    label: str
    size: int = 1
    """In GiB, as in every record."""
    id: str = field(default_factory=new_id)
    volume_type: VolumeType = field(default_factory=VolumeType)
    status: str = "available"
    use_quota: bool = True
    encryption_key_id: str | None = None
    obj_context: Any = None
    provider_location: str | None = None
    glance_metadata: dict[str, str] = field(default_factory=dict)
    display_name: str = ""
    display_description: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    _name_id: str | None = None

    @property
    def name(self) -> str:
        return f"volume-{self._name_id or self.id}"


@dataclass
class Snapshot(Row):
    label: str
    volume: Volume
    volume_size: int
    id: str = field(default_factory=new_id)

    @property
    def name(self) -> str:
        return f"snapshot-{self.id}"

    @property
    def volume_name(self) -> str:
        return self.volume.name


@dataclass
class Backup(Row):
    label: str
    volume_id: str
    parent: Backup | None = None
    parent_id: str | None = None
    snapshot_id: str | None = None
    container: str | None = None
    service_metadata: str | None = None
    service: str = "cinder.backup.drivers.ceph.CephBackupDriver"
    id: str = field(default_factory=new_id)


@dataclass
class Ledger:
    """All records of a test; it answers what the backup driver asks `db`."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """By id, what the test calls it."""
    qos: dict[str, dict[str, Any]] = field(default_factory=dict)

    def volume(self, label: str, size: int = 1, **more: Any) -> Volume:
        volume = Volume(label, size, display_name=label, **more)
        self.volumes[volume.id] = volume
        self.labels[volume.id] = label
        return volume

    def snapshot(self, label: str, volume: Volume) -> Snapshot:
        snapshot = Snapshot(label, volume, volume.size)
        self.labels[snapshot.id] = label
        return snapshot

    def backup(self, label: str, volume: Volume, parent: Backup | None = None) -> Backup:
        backup = Backup(label, volume.id, parent, parent.id if parent else None)
        self.labels[backup.id] = label
        return backup

    def volume_get(self, _context: Any, volume_id: str) -> Volume:
        return self.volumes[volume_id]

    def volume_update(self, _context: Any, volume_id: str, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.volumes[volume_id], name, value)

    def volume_metadata_get(self, _context: Any, volume_id: str) -> dict[str, str]:
        return self.volumes[volume_id].metadata

    def volume_metadata_update(
        self, _context: Any, volume_id: str, metadata: dict[str, str], delete: bool
    ) -> None:
        self.volumes[volume_id].metadata = dict(metadata)

    def volume_glance_metadata_get(self, _context: Any, volume_id: str) -> list[Any]:
        return []
