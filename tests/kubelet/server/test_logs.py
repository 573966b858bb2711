import asyncio
import time
from pathlib import Path

import pytest

from kubelet.server.logs import BadOptions, LogOptions, read, tail_offset

LINES = [
    "2026-01-01T00:00:01.000000001Z stdout F one\n",
    "2026-01-01T00:00:02.000000002Z stderr F two\n",
    "2026-01-01T00:00:03.000000003Z stdout P thr\n",
    "2026-01-01T00:00:03.000000004Z stdout F ee\n",
    "2026-01-01T00:00:04.000000005Z stdout F four\n",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("".join(LINES))
    return path


async def text(log: Path, **query: str) -> str:
    options = LogOptions.parse(query, time.time())
    return b"".join([chunk async for chunk in read(log, options, lambda: False)]).decode()


async def test_the_containers_own_lines_come_out(log: Path) -> None:
    assert await text(log) == "one\ntwo\nthree\nfour\n"


async def test_timestamps_go_before_whole_lines(log: Path) -> None:
    found = (await text(log, timestamps="true")).splitlines()
    assert found[0] == "2026-01-01T00:00:01.000000001Z one"
    assert found[2] == "2026-01-01T00:00:03.000000003Z three"


async def test_a_tail_has_the_last_lines_of_the_file(log: Path) -> None:
    assert await text(log, tailLines="1") == "four\n"
    assert await text(log, tailLines="0") == ""
    assert await text(log, tailLines="99") == "one\ntwo\nthree\nfour\n"


async def test_since_leaves_out_what_is_older(log: Path) -> None:
    assert await text(log, sinceTime="2026-01-01T00:00:02.5Z") == "three\nfour\n"
    assert await text(log, sinceSeconds="1") == ""


async def test_a_limit_cuts_in_the_middle_of_a_line(log: Path) -> None:
    assert await text(log, limitBytes="6") == "one\ntw"


async def test_one_stream_may_be_asked_for(log: Path) -> None:
    assert await text(log, stream="Stderr") == "two\n"


async def test_a_torn_line_is_left_out(log: Path) -> None:
    log.write_text(LINES[0] + "garbage\n" + LINES[4])
    assert await text(log) == "one\nfour\n"


@pytest.mark.parametrize("query", [{"tailLines": "x"}, {"tailLines": "-1"}, {"sinceTime": "yesterday"}])
def test_nonsense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadOptions):
        LogOptions.parse(query, 0)


def test_the_tail_of_a_long_file_is_found_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"".join(b"%07d\n" % i for i in range(100_000)))
    with path.open("rb") as file:
        for lines in (1, 8191, 8192, 8193, 20_000):
            assert tail_offset(file, lines) == (100_000 - lines) * 8


async def test_following_sees_what_is_written_later_across_a_rotation(log: Path) -> None:
    alive = True
    found: list[bytes] = []
    arrived = asyncio.Event()

    async def follow() -> None:
        async for chunk in read(log, LogOptions(follow=True, tail=0), lambda: alive):
            found.append(chunk)
            arrived.set()

    async def seen(what: str) -> None:
        async with asyncio.timeout(10):
            while what not in b"".join(found).decode():
                arrived.clear()
                await arrived.wait()

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    with log.open("a") as file:
        file.write("2026-01-01T00:00:05.0Z stdout F five\n")
    await seen("five")
    log.rename(log.with_name("0.log.old"))
    with log.open("a") as file:
        file.write("2026-01-01T00:00:06.0Z stdout F six\n")
    await seen("six")
    alive = False
    async with asyncio.timeout(10):
        await task
    assert b"".join(found) == b"five\nsix\n"
