"""The watch cache: every object of the store with its encoded bytes, kept fresh by one watch on the store.

Read ``cacher`` (how it stays fresh, what consistent means), then ``resource_cache`` (what is kept of one resource, how
a change reaches watchers) and ``watcher`` (what one client's watch sees).
"""

from apiserver.cacher.cacher import Cacher
from apiserver.cacher.entry import Change, Entry
from apiserver.cacher.resource_cache import ResourceCache
from apiserver.cacher.watcher import Watcher

__all__ = ["Cacher", "Change", "Entry", "ResourceCache", "Watcher"]
