"""The file format of bbolt, in which etcd keeps its state and hands out its snapshots: written once from start to end, or read whole.

A file is pages of 4 KiB: two metas, a list of free pages, and B+trees. The root tree maps a bucket's name to the page where the bucket's
own tree begins. There is no updating in place here: our own state lies in LMDB, and this is how it is carried to tools that know etcd's.
Source: bbolt's page.go, node.go and db.go; little-endian as on every machine that etcd supports.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

PAGE = 4096
_MAGIC, _VERSION = 0xED0CDAED, 2
_HEADER = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct(
    "<IIIIQQQQQ"
)  # magic, version, page size, flags, root page, root sequence, free list, pages, transaction
_CHECKSUM = struct.Struct("<Q")
_LEAF_ITEM = struct.Struct("<IIII")  # flags, position, key size, value size
_BRANCH_ITEM = struct.Struct("<IIQ")  # position, key size, page
_BUCKET = struct.Struct("<QQ")  # root page (0: the tree's one page follows inline), sequence
_BRANCH, _LEAF, _METAPAGE, _FREELIST = 0x01, 0x02, 0x04, 0x10
_IS_BUCKET = 0x01
_MAX_ITEMS = 0xFFFF

Item = tuple[bytes, bytes]


class FormatError(Exception):
    """The file is not bbolt's, or damaged; the text says where."""


def is_bbolt(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEADER.size + 4)
    return len(head) == _HEADER.size + 4 and int.from_bytes(head[_HEADER.size :], "little") == _MAGIC


# ---- writing


class Writer:
    """``bucket`` for each bucket, in order of their names, then ``finish``. Pages go out as they fill: memory stays small."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next = 3  # behind the metas and the free list
        self._roots: list[Item] = []
        file.write(bytes(self._next * PAGE))

    def bucket(self, name: bytes, items: Iterable[Item]) -> None:
        """``items`` in order of their keys."""
        assert not self._roots or self._roots[-1][0] < name, "buckets come in order"
        self._roots.append((name, _BUCKET.pack(self._tree(((key, value, 0) for key, value in items)), 0)))

    def finish(self) -> None:
        root = self._tree((name, value, _IS_BUCKET) for name, value in self._roots)
        for number in (0, 1):
            meta = _META.pack(_MAGIC, _VERSION, PAGE, 0, root, 0, 2, self._next, number)
            page = _HEADER.pack(number, _METAPAGE, 0, 0) + meta + _CHECKSUM.pack(_fnv64a(meta))
            self._file.seek(number * PAGE)
            self._file.write(page.ljust(PAGE, b"\0"))
        self._file.seek(2 * PAGE)
        self._file.write(_HEADER.pack(2, _FREELIST, 0, 0).ljust(PAGE, b"\0"))
        self._file.seek(self._next * PAGE)

    def _tree(self, items: Iterable[tuple[bytes, bytes, int]]) -> int:
        """Write a tree from its leaves up; the page of its root."""
        level: list[tuple[bytes, int]] = []
        batch: list[tuple[bytes, bytes, int]] = []
        size = _HEADER.size
        for item in items:
            cost = _LEAF_ITEM.size + len(item[0]) + len(item[1])
            if batch and (size + cost > PAGE or len(batch) == _MAX_ITEMS):
                level.append((batch[0][0], self._leaf(batch)))
                batch, size = [], _HEADER.size
            batch.append(item)
            size += cost
        level.append((batch[0][0] if batch else b"", self._leaf(batch)))
        while len(level) > 1:
            level = self._branches(level)
        return level[0][1]

    def _branches(self, below: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        level: list[tuple[bytes, int]] = []
        batch: list[tuple[bytes, int]] = []
        size = _HEADER.size
        for key, page in below:
            cost = _BRANCH_ITEM.size + len(key)
            # At least two in each, so that every level is shorter than the one below, however long the keys are.
            if len(batch) >= 2 and (size + cost > PAGE or len(batch) == _MAX_ITEMS):
                level.append((batch[0][0], self._branch(batch)))
                batch, size = [], _HEADER.size
            batch.append((key, page))
            size += cost
        level.append((batch[0][0], self._branch(batch)))
        return level

    def _leaf(self, items: list[tuple[bytes, bytes, int]]) -> int:
        heads, data = bytearray(), bytearray()
        for number, (key, value, flags) in enumerate(items):
            # Positions count from the item's own head.
            position = (len(items) - number) * _LEAF_ITEM.size + len(data)
            heads += _LEAF_ITEM.pack(flags, position, len(key), len(value))
            data += key + value
        return self._page(_LEAF, len(items), heads + data)

    def _branch(self, items: list[tuple[bytes, int]]) -> int:
        heads, data = bytearray(), bytearray()
        for number, (key, page) in enumerate(items):
            position = (len(items) - number) * _BRANCH_ITEM.size + len(data)
            heads += _BRANCH_ITEM.pack(position, len(key), page)
            data += key
        return self._page(_BRANCH, len(items), heads + data)

    def _page(self, kind: int, count: int, content: bytearray) -> int:
        pages = -(-(_HEADER.size + len(content)) // PAGE)
        id, self._next = self._next, self._next + pages
        self._file.write((_HEADER.pack(id, kind, count, pages - 1) + content).ljust(pages * PAGE, b"\0"))
        return id


def _fnv64a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


# ---- reading


class Reader:
    """A file of bbolt's, or the first part of one (a snapshot with its checksum behind it)."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        metas = [meta for meta in map(self._meta, (0, 1)) if meta is not None]
        if not metas:
            raise FormatError("invalid database: neither of its two heads is whole")
        _, self._size, root = max(metas)
        self._buckets = {name: value for name, value, flags in self._walk(root) if flags & _IS_BUCKET}

    def _meta(self, number: int) -> tuple[int, int, int] | None:
        """Transaction, page size and root of a meta page; None when it is not whole."""
        # The second one stands at the page size, which only the first one knows: etcd's is the system's, nearly always this.
        at = number * PAGE + _HEADER.size
        if len(self._data) < at + _META.size + _CHECKSUM.size:
            return None
        raw = bytes(self._data[at : at + _META.size])
        magic, version, size, _, root, _, _, _, transaction = _META.unpack(raw)
        (checksum,) = _CHECKSUM.unpack_from(self._data, at + _META.size)
        if (magic, version) != (_MAGIC, _VERSION) or checksum != _fnv64a(raw):
            return None
        return transaction, size, root

    @property
    def names(self) -> list[bytes]:
        return sorted(self._buckets)

    def bucket(self, name: bytes) -> Iterator[Item]:
        """Its items in order; nothing when there is no such bucket."""
        value = self._buckets.get(name)
        if value is None:
            return
        if len(value) < _BUCKET.size + _HEADER.size * (not any(value[:8])):
            raise FormatError(f"invalid database: the bucket {name!r} is cut off")
        root, _ = _BUCKET.unpack_from(value)
        found = self._walk(root) if root else self._items(memoryview(value)[_BUCKET.size :])
        for key, data, flags in found:
            if not flags & _IS_BUCKET:
                yield key, data

    def _walk(self, root: int) -> Iterator[tuple[bytes, bytes, int]]:
        stack = [root]
        seen = 0
        while stack:
            seen += 1
            id = stack.pop()
            at = id * self._size
            if at + self._size > len(self._data) or seen > len(self._data) // self._size + 1:
                raise FormatError(f"invalid database: page {id} is not in the file")
            _, kind, count, overflow = _HEADER.unpack_from(self._data, at)
            page = self._data[at : at + (overflow + 1) * self._size]
            if kind & _LEAF:
                yield from self._items(page)
            elif kind & _BRANCH and _HEADER.size + count * _BRANCH_ITEM.size <= len(page):
                heads = [_BRANCH_ITEM.unpack_from(page, _HEADER.size + n * _BRANCH_ITEM.size) for n in range(count)]
                stack += [child for _, _, child in reversed(heads)]
            else:
                raise FormatError(f"invalid database: page {id} is of the unknown kind {kind}")

    @staticmethod
    def _items(page: memoryview) -> Iterator[tuple[bytes, bytes, int]]:
        _, _, count, _ = _HEADER.unpack_from(page)
        if _HEADER.size + count * _LEAF_ITEM.size > len(page):
            raise FormatError("invalid database: more items than their page has room for")
        for number in range(count):
            at = _HEADER.size + number * _LEAF_ITEM.size
            flags, position, key_size, value_size = _LEAF_ITEM.unpack_from(page, at)
            start = at + position
            if start + key_size + value_size > len(page):
                raise FormatError("invalid database: an item reaches beyond its page")
            yield (
                bytes(page[start : start + key_size]),
                bytes(page[start + key_size : start + key_size + value_size]),
                flags,
            )
