"""The cache of one resource: key order, the window of changes, watchers."""

from typing import Any

import orjson
import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import lookup
from apiserver.cacher import resource_cache
from apiserver.cacher.resource_cache import ResourceCache
from apiserver.cacher.watcher import MAX_WAITING_BYTES
from apiserver.forms import PlainForm
from apiserver.registry import STRATEGIES

CONFIG_MAPS = lookup("", "v1", "configmaps")
assert CONFIG_MAPS is not None


def new_cache() -> ResourceCache:
    assert CONFIG_MAPS is not None
    cache = ResourceCache(CONFIG_MAPS, STRATEGIES[CONFIG_MAPS].selectable_fields)
    cache.load([], 10)
    return cache


def put(cache: ResourceCache, key: str, revision: int, **labels: str) -> None:
    namespace, name = key.split("/")
    obj = {"kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "labels": labels}}
    cache.put(key, cache.codec.encode(obj), revision)


def plain(cache: ResourceCache) -> PlainForm:
    return PlainForm(cache.resource, cache.codec, None)


async def events(watcher: Any) -> list[tuple[str, str, str]]:
    lines = (await watcher.take(0.01)).splitlines()
    found = [orjson.loads(line) for line in lines]
    return [(e["type"], e["object"]["metadata"]["name"], e["object"]["metadata"]["resourceVersion"]) for e in found]


def test_entries_come_in_key_order_and_by_namespace() -> None:
    cache = new_cache()
    for i, key in enumerate(("b/x", "a/z", "a-b/q", "a/c", "a/b-1")):
        put(cache, key, 11 + i)
    assert [e.key for e in cache.entries()] == ["a-b/q", "a/b-1", "a/c", "a/z", "b/x"]
    assert [e.key for e in cache.entries("a/")] == ["a/b-1", "a/c", "a/z"]
    assert [e.key for e in cache.entries("a/c")] == ["a/c"]
    assert cache.entries("c/") == []
    cache.remove("a/c", 20)
    assert [e.key for e in cache.entries("a/")] == ["a/b-1", "a/z"]


async def test_a_watch_gets_what_happened_after_its_version_and_then_what_happens() -> None:
    cache = new_cache()
    put(cache, "a/x", 11)
    put(cache, "a/x", 12)
    cache.remove("a/x", 13)
    watcher = cache.watch("", None, plain(cache), 11)
    assert await events(watcher) == [("MODIFIED", "x", "12"), ("DELETED", "x", "13")]
    put(cache, "b/y", 14)
    assert await events(watcher) == [("ADDED", "y", "14")]
    watcher.close()
    assert cache.watchers == 0


async def test_scopes_keep_other_namespaces_out() -> None:
    cache = new_cache()
    watcher, single = cache.watch("a/", None, plain(cache), 10), cache.watch("a/y", None, plain(cache), 10)
    for i, key in enumerate(("b/y", "a/x", "a/y")):
        put(cache, key, 11 + i)
    assert [name for _, name, _ in await events(watcher)] == ["x", "y"]
    assert [name for _, name, _ in await events(single)] == ["y"]


def test_a_version_older_than_the_window_is_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_cache, "WINDOW_MIN", 3)
    monkeypatch.setattr(resource_cache, "WINDOW_MAX", 4)
    cache = new_cache()
    with pytest.raises(StatusError, match=r"too old resource version: 9 \(10\)"):
        cache.watch("", None, plain(cache), 9)
    for revision in range(11, 21):
        put(cache, "a/x", revision)
    with pytest.raises(StatusError) as expired:
        cache.watch("", None, plain(cache), 15)
    assert (expired.value.code, expired.value.reason) == (410, "Expired")
    assert cache.watch("", None, plain(cache), 16) is not None


async def test_watchers_by_field_are_found_by_its_value_before_and_after() -> None:
    pods = lookup("", "v1", "pods")
    assert pods is not None
    cache = ResourceCache(pods, STRATEGIES[pods].selectable_fields)
    cache.load([], 10)
    seen: list[str] = []

    def of_node(name: str) -> Any:
        def matches(attributes: Any) -> bool:
            seen.append(name)
            return bool(attributes.fields["spec.nodeName"] == name)

        return cache.watch("", matches, plain(cache), 10, ("spec.nodeName", name))

    def put_pod(revision: int, node: str) -> None:
        obj = {"kind": "Pod", "metadata": {"name": "p", "namespace": "a"}, "spec": {"nodeName": node}}
        cache.put("a/p", cache.codec.encode(obj), revision)

    one, two = of_node("n1"), of_node("n2")
    put_pod(11, "n1")
    assert seen == ["n1"], "the other node's watcher was not even asked"
    put_pod(12, "n2")
    assert await events(one) == [("ADDED", "p", "11"), ("DELETED", "p", "12")]
    assert await events(two) == [("ADDED", "p", "12")]
    one.close()
    two.close()
    assert cache.watchers == 0


async def test_loading_again_ends_open_watches() -> None:
    cache = new_cache()
    watcher = cache.watch("", None, plain(cache), 10)
    cache.load([], 50)
    assert watcher.closed
    assert await watcher.take(1) == b""


async def test_a_slow_reader_is_cut_off() -> None:
    cache = new_cache()
    watcher = cache.watch("", None, plain(cache), 10)
    watcher.put(b"x" * MAX_WAITING_BYTES)
    assert not watcher.closed
    watcher.put(b"x")
    assert watcher.closed
    assert cache.watchers == 0


async def test_equal_watchers_share_the_bytes_of_an_event() -> None:
    cache = new_cache()
    one, two = cache.watch("", None, plain(cache), 10), cache.watch("a/", None, plain(cache), 10)
    put(cache, "a/x", 11)
    assert await one.take(1) is await two.take(1)


def test_a_value_written_in_another_order_is_served_like_any_other() -> None:
    cache = new_cache()
    foreign = orjson.dumps(
        {"metadata": {"name": "x", "namespace": "a"}, "data": {"k": "v"}, "apiVersion": "v1", "kind": "ConfigMap"}
    )
    cache.put("a/x", foreign, 11)
    entry = cache.get("a/x")
    assert entry is not None
    assert cache.codec.decode_body(entry.body)["metadata"] == {"resourceVersion": "11", "name": "x", "namespace": "a"}
