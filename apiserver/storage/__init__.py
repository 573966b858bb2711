"""Objects in the store: see ``store`` for the five verbs, ``codec`` for how an object becomes bytes and back."""

from apiserver.storage.codec import Codec
from apiserver.storage.store import Changed, KeyExists, KeyValue, Page, Store, store_error

__all__ = ["Changed", "Codec", "KeyExists", "KeyValue", "Page", "Store", "store_error"]
