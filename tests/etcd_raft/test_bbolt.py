"""bbolt's file format: what is written can be read, here and (see test_snapshots) by etcd's own tools."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_raft.bbolt import PAGE, FormatError, Reader, Writer


def write(buckets: dict[bytes, dict[bytes, bytes]]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file)
    for name in sorted(buckets):
        writer.bucket(name, sorted(buckets[name].items()))
    writer.finish()
    return file.getvalue()


def read(data: bytes) -> dict[bytes, dict[bytes, bytes]]:
    reader = Reader(memoryview(data))
    return {name: dict(reader.bucket(name)) for name in reader.names}


items = st.dictionaries(st.binary(min_size=1, max_size=600), st.binary(max_size=6000), max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=40), items, max_size=6))
def test_what_is_written_can_be_read(buckets: dict[bytes, dict[bytes, bytes]]) -> None:
    data = write(buckets)
    assert len(data) % PAGE == 0
    assert read(data) == buckets


def test_a_tree_may_have_many_levels() -> None:
    # Keys so long that a branch holds two of them.
    content = {b"%01900d" % number: b"v" for number in range(300)}
    found = Reader(memoryview(write({b"b": content})))
    assert list(found.bucket(b"b")) == sorted(content.items())


def test_a_bucket_that_is_not_there_is_empty() -> None:
    assert list(Reader(memoryview(write({b"a": {}}))).bucket(b"b")) == []


def test_one_whole_head_is_enough() -> None:
    data = bytearray(write({b"a": {b"k": b"v"}}))
    data[20:40] = bytes(20)
    assert read(bytes(data)) == {b"a": {b"k": b"v"}}
    data[PAGE + 20 : PAGE + 40] = bytes(20)
    with pytest.raises(FormatError, match="neither of its two heads"):
        read(bytes(data))


@pytest.mark.parametrize("length", [0, 10, PAGE, 3 * PAGE])
def test_a_file_that_was_cut_is_refused(length: int) -> None:
    data = write({b"a": {b"%d" % n: bytes(100) for n in range(100)}})
    with pytest.raises(FormatError):
        read(data[:length])


def test_damage_is_refused_instead_of_followed() -> None:
    data = bytearray(write({b"a": {b"k": b"v"}}))
    refused = 0
    for page in range(3, len(data) // PAGE):
        for at in range(page * PAGE, page * PAGE + 80):
            broken = bytearray(data)
            broken[at : at + 4] = b"\xff\xff\xff\xff"
            try:
                read(bytes(broken))
            except FormatError:
                refused += 1
    assert refused > 20
