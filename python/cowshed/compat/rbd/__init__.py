"""The module `rbd` as librbd's Python binding has it, on a store."""

# ruff: noqa: F403
# All names are for others: `import rbd` gets them through modules/rbd.py.

from cowshed.compat.rbd.completion import Completion as Completion
from cowshed.compat.rbd.constants import *
from cowshed.compat.rbd.errors import *
from cowshed.compat.rbd.group import Group as Group
from cowshed.compat.rbd.group import GroupImageIterator as GroupImageIterator
from cowshed.compat.rbd.group import GroupSnapIterator as GroupSnapIterator
from cowshed.compat.rbd.image import Image as Image
from cowshed.compat.rbd.image_clones import ChildIterator as ChildIterator
from cowshed.compat.rbd.image_locks import LockOwnerIterator as LockOwnerIterator
from cowshed.compat.rbd.image_locks import WatcherIterator as WatcherIterator
from cowshed.compat.rbd.image_settings import ConfigImageIterator as ConfigImageIterator
from cowshed.compat.rbd.image_settings import MetadataIterator as MetadataIterator
from cowshed.compat.rbd.image_snapshots import SnapIterator as SnapIterator
from cowshed.compat.rbd.iterators import ConfigPoolIterator as ConfigPoolIterator
from cowshed.compat.rbd.iterators import ImageIterator as ImageIterator
from cowshed.compat.rbd.iterators import MirrorImageInfoIterator as MirrorImageInfoIterator
from cowshed.compat.rbd.iterators import MirrorImageInstanceIdIterator as MirrorImageInstanceIdIterator
from cowshed.compat.rbd.iterators import MirrorImageStatusIterator as MirrorImageStatusIterator
from cowshed.compat.rbd.iterators import MirrorPeerIterator as MirrorPeerIterator
from cowshed.compat.rbd.iterators import PoolMetadataIterator as PoolMetadataIterator
from cowshed.compat.rbd.iterators import TrashIterator as TrashIterator
from cowshed.compat.rbd.pool import RBD as RBD
