"""The part of a store that keeps what is said of images and pools: metadata and configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.records import ConfigOption
from cowshed.store.spec import ImageSpec


class Settings(ABC):
    """Free key-value pairs of an image, and RBD's configuration keys of pools and images."""

    @abstractmethod
    def metadata(self, spec: ImageSpec | str) -> dict[str, str]:
        """All pairs of an image, by key; its configuration is among them, as `conf_…` (as with RBD)."""

    @abstractmethod
    def get_metadata(self, spec: ImageSpec | str, key: str) -> str:
        """Raises NotFound for the image or the key."""

    @abstractmethod
    def set_metadata(self, spec: ImageSpec | str, key: str, value: str) -> None:
        """Raises NotFound, InvalidArgument for an empty key or one that is too long."""

    @abstractmethod
    def remove_metadata(self, spec: ImageSpec | str, key: str) -> None:
        """Raises NotFound for the image or the key."""

    @abstractmethod
    def pool_metadata(self, pool: str) -> dict[str, str]:
        """All pairs of a pool, by key; its configuration is among them, as `conf_…` (as with RBD)."""

    @abstractmethod
    def set_pool_metadata(self, pool: str, key: str, value: str) -> None:
        """Raises NotFound, InvalidArgument for an empty key, one that is too long, or a bad `conf_…`."""

    @abstractmethod
    def remove_pool_metadata(self, pool: str, key: str) -> None:
        """Raises NotFound for the pool or the key."""

    @abstractmethod
    def config(self, where: ImageSpec | str | None = None, *, pool: str | None = None) -> list[ConfigOption]:
        """Every known key with the value that holds for an image, or for a pool, and where that was set."""

    @abstractmethod
    def set_config(
        self, key: str, value: str, *, image: ImageSpec | str | None = None, pool: str | None = None
    ) -> None:
        """Set a key for an image, or for a pool and so for its images.

        Raises InvalidArgument for a key that RBD does not know, and for a value that it does not take. Keys
        are kept and listed; `rbd_default_features`, `rbd_default_order` and `rbd_default_clone_format` have
        an effect.
        """

    @abstractmethod
    def remove_config(
        self, key: str, *, image: ImageSpec | str | None = None, pool: str | None = None
    ) -> None:
        """Raises NotFound if it was not set there."""
