"""What users type into etcdctl 3.4 and 3.5: our answer is the real etcd's, word by word."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.etcd_raft import etcdctl
from tests.etcd_raft.processes import ClusterProcesses, real_etcd

pytestmark = [pytest.mark.binary("etcdctl"), pytest.mark.binary("etcd")]

RELEASES = etcdctl.binaries()
Step = str | tuple[str, str]  # a line, and what is typed into it

SCENARIOS: dict[str, list[Step]] = {
    "keys": [
        "put foo bar",
        "get foo",
        "get foo -w=json",
        "get foo -w=fields",
        "get foo --hex",
        "get foo --print-value-only",
        "put foo baz --prev-kv",
        "put foo baz --prev-kv -w=json",
        "put foo baz -w=fields",
        ("put piped", "from standard input"),
        "get piped",
        "put --ignore-value foo",
        "put --ignore-value nobody",
        "put --ignore-lease foo again",
        "put --lease=123 foo gone",
        "put ''  empty",
        "get ''",
        "get nothing",
        "get nothing -w=json",
        "put p/1 one",
        "put p/2 two",
        "put p/3 three",
        "put p/2 zwei",
        "get p/ --prefix",
        "get p/ --prefix --keys-only",
        "get p/ --prefix --count-only",
        "get p/ --prefix --count-only -w=fields",
        "get p/ --prefix --limit=2",
        "get p/ --prefix --limit=2 -w=json",
        "get p/1 p/3",
        "get p/2 --from-key",
        "get --from-key '' --limit=3",
        "get --prefix ''",
        "get p/ --prefix --order=DESCEND",
        "get p/ --prefix --order=DESCEND --sort-by=MODIFY --print-value-only",
        "get p/ --prefix --order=ASCEND --sort-by=VERSION",
        "get p/ --prefix --sort-by=CREATE",
        "get p/ --prefix --sort-by=VALUE --order=DESCEND",
        "get p/ --prefix --sort-by=NOTHING",
        "get foo --rev=2",
        "get foo --rev=3 --consistency=s",
        "get foo --rev=4000",
        "get foo --consistency=x",
        "get p/ --prefix --min-mod-rev=1",
        "del p/1",
        "del p/1",
        "del p/ --prefix --prev-kv",
        "del foo -w=json --prev-kv",
        "del piped piped0",
        "del nothing --from-key",
        "del --prefix ''",
        "get -w=table foo",
        "get",
        "put foo",
        "del",
    ],
    "transactions": [
        "put flag 1",
        ("txn", 'value("flag") = "1"\n\nput flag 2\nget flag\n\nput flag 3\n\n'),
        ("txn -i", 'value("flag") = "1"\n\nput flag 2\nget flag\n\nput flag 3\nget flag\n\n'),
        ("txn -w=json", 'mod("flag") > "0"\n\nget flag --prefix\n\n\n'),
        ("txn -w=fields", 'create("flag") > "0"\nver("flag") > "1"\n\nget flag\ndel flag\n\n\n'),
        ("txn", 'value("flag") = "1"\n\n\n\nput flag 3\n\n'),
        ("txn", 'lease("flag") = "0"\n\nget flag\n\n\n'),
        ("txn", 'version("flag") < "5"\n\nget flag\n\n\n'),
        ("txn", "\nput twice 1\nput twice 2\n\n\n"),
        ("txn", "nonsense\n\n\n\n"),
        ("txn", "\nget flag --rev=1000\n\n\n"),
        ("txn", "\nput a/1 x --prev-kv\ndel b --prefix --prev-kv\nget a/ --prefix --keys-only\n\n\n"),
    ],
    "history": [
        "put c 1",
        "put c 2",
        "put c 3",
        "compaction 1",
        "compaction 1",
        "get c --rev=1",
        "compaction 100000",
        "compaction x",
        "compaction",
        "compaction 3 --physical",
        "get c --rev=2",
        "watch c --rev=2",
        "defrag",
        "get c",
        "watch c --rev=2 --prefix -w=json",
    ],
    "status": [
        "endpoint health",
        "endpoint health -w=json",
        "endpoint health -w=table",
        "endpoint health --cluster",
        "endpoint status",
        "endpoint status -w=json",
        "endpoint status -w=table",
        "endpoint status -w=fields",
        "endpoint hashkv",
        "endpoint hashkv -w=json",
        "endpoint hashkv -w=table",
        "endpoint hashkv -w=fields",
        "member list",
        "member list -w=json",
        "member list -w=table",
        "member list -w=fields",
        "move-leader 1234",
        "alarm list",
        "alarm disarm",
        "defrag --cluster",
        "version",
        "check perf --load=bogus",
    ],
    "leases": [
        "lease grant 1000000000000",
        "lease grant 0",
        "lease grant -1",
        "lease grant 60",
        "lease grant 60 -w=json",
        "lease grant 60 -w=fields",
        "lease timetolive 7b",
        "lease timetolive 7b -w=json",
        "lease timetolive 7b --keys -w=fields",
        "lease revoke 7b",
        "lease revoke zz",
        "lease keep-alive --once 7b",
        "lease keep-alive --once 7b -w=json",
        "lease keep-alive --once 7b -w=fields",
    ],
    "members": [
        "member add learner --peer-urls=http://127.0.0.1:1 --learner",
        "member add again --peer-urls=http://127.0.0.1:1",
        "member add second --peer-urls=http://127.0.0.1:2 --learner",
        "member list",
        "member promote 1234",
        "member remove 1234",
        "member update 1234 --peer-urls=http://127.0.0.1:3",
        "member add bad --peer-urls=nonsense",
        "member add",
        "member add x",
        "member remove",
        "member remove zz",
        "member list -w=json",
        "member list -w=fields",
    ],
    "locks": [
        "lock mutex echo inside",
        "get mutex --prefix",
        "lock --ttl=5 mutex false",
        "lock mutex -- sh -c 'exit 3'",
    ],
    "watching": [
        "watch",
        ("watch -i", "nonsense\n"),
    ],
    "users": [
        "auth status",
        "auth enable",
        "user add root:secret",
        "user add root:secret",
        "user add ann:pw -w=json",
        "user add ann:pw",
        "user add nopw --no-password",
        ("user add piped --interactive=false", "word\n"),
        "user add :x",
        "user list",
        "user list -w=json",
        "user get ann",
        "user get ann -w=json",
        "user get ann --detail",
        "user get nobody",
        "role add reader",
        "role add reader",
        "role add root",
        "role add ''",
        "role get reader",
        "role get nobody",
        "role list",
        "role list -w=json",
        "role grant-permission reader read a",
        "role grant-permission reader --prefix=true readwrite app/",
        "role grant-permission reader --from-key write z",
        "role grant-permission reader read b c",
        "role grant-permission reader wrong b c",
        "role grant-permission nobody read b c",
        "role get reader",
        "role get reader -w=json",
        "role get reader -w=fields",
        "role revoke-permission reader b c",
        "role revoke-permission reader b c",
        "role revoke-permission nobody b c",
        "user grant-role ann reader",
        "user grant-role ann reader",
        "user grant-role ann nobody",
        "user grant-role nobody reader",
        "user revoke-role ann nobody",
        "user grant-role nopw reader",
        "user get ann",
        "user get ann --detail",
        "put app/1 x",
        "put other x",
        "auth enable",
        "--user=root:secret user grant-role root root",
        "user grant-role root root",
        "auth enable",
        "auth enable",
        "auth status",
        "--user=root:secret auth status",
        "--user=root:secret auth status -w=json",
        "get app/1",
        "user list",
        "--user=ann:wrong get app/1",
        "--user=nobody:pw get app/1",
        "--user=nopw:pw get app/1",
        "--user=ann:pw get app/1",
        "--user=ann --password=pw get app/1",
        "--user=ann:pw get app/ --prefix",
        "--user=ann:pw get a --prefix",
        "--user=ann:pw get a",
        "--user=ann:pw put a 1",
        "--user=ann:pw put app/2 1 --prev-kv",
        "--user=ann:pw put z 1",
        "--user=ann:pw put z 1 --prev-kv",
        "--user=ann:pw get z",
        "--user=ann:pw del z --from-key",
        "--user=ann:pw get other",
        ("--user=ann:pw txn", 'value("app/1") = "x"\n\nput app/1 y\nget app/1\n\n\n'),
        ("--user=ann:pw txn", 'value("other") = "x"\n\nput app/1 y\n\n\n'),
        ("--user=ann:pw txn", "\nput other y\n\n\n"),
        "--user=ann:pw user list",
        "--user=ann:pw user get ann",
        "--user=ann:pw user get root",
        "--user=ann:pw user add x:y",
        "--user=ann:pw role get reader",
        "--user=ann:pw role get root",
        "--user=ann:pw role list",
        "--user=ann:pw role add x",
        "--user=ann:pw member list",
        "--user=ann:pw member add x --peer-urls=http://127.0.0.1:5",
        "--user=ann:pw endpoint status",
        "--user=ann:pw endpoint hashkv",
        "--user=ann:pw endpoint health",
        "endpoint health",
        "endpoint status",
        "member list",
        "alarm list",
        "alarm disarm",
        "defrag",
        "compaction 3",
        "lease grant 60",
        "lease list",
        "lease timetolive 12",
        "lease revoke 12",
        "lease keep-alive --once 12",
        "snapshot save no.db",
        "watch app/1",
        "--user=ann:pw watch other",
        "--user=ann:pw lease grant 60 -w=fields",
        "--user=ann:pw lease list -w=json",
        "--user=ann:pw alarm list",
        "--user=ann:pw alarm disarm",
        "--user=ann:pw defrag",
        "--user=ann:pw compaction 4",
        "--user=ann:pw snapshot save no.db",
        "--user=ann:pw auth disable",
        ("--user=root:secret user passwd ann --interactive=false", "new\n"),
        "--user=ann:pw get app/1",
        "--user=ann:new get app/1",
        "--user=root:secret get --prefix ''",
        "--user=root:secret role get root",
        "--user=root:secret user delete root",
        "--user=root:secret user revoke-role root root",
        "--user=root:secret role delete root",
        "--user=root:secret role delete nobody",
        "--user=root:secret user delete nobody",
        "--user=root:secret role delete reader",
        "--user=ann:new get app/1",
        "--user=root:secret user delete ann",
        "--user=ann:new get app/1",
        "auth disable",
        "--user=root:secret auth disable",
        "get app/1",
        "auth disable",
        "--user=root:secret get app/1",
        "user delete root",
        "role delete root",
    ],
}

# The protocol of users is the same for both; the older release needs only show that it can use it.
SHORT = {
    "users": [
        "user add root:secret", "user grant-role root root", "user add ann:pw", "role add reader", "role list",
        "role grant-permission reader --prefix=true read app/", "role get reader", "user grant-role ann reader",
        "put app/1 x", "auth enable", "get app/1", "--user=ann:pw get app/1", "--user=ann:pw put app/1 y",
        "--user=ann:pw user list", "--user=root:secret user list", "--user=root:secret auth disable", "get app/1",
    ],
}  # fmt: skip
Play = Callable[[str, ClusterProcesses], Awaitable[list[str]]]
CASES = [(release, name) for release in sorted(RELEASES) for name in SCENARIOS]


class Pair:
    """A store of ours and a real one that have seen the same commands, each with a folder for what etcdctl writes."""

    def __init__(self, folder: Path, etcd: str) -> None:
        quiet = ["--log-level=warn"]
        self.stores: list[tuple[ClusterProcesses, Path]] = []
        for name, binary, flags in (("ours", None, quiet), ("etcd", etcd, [*quiet, "--bcrypt-cost=4"])):
            place = folder / name
            place.mkdir()
            self.stores.append((ClusterProcesses(place, 1, flags, binary), place))

    async def run(self, binary: str, line: str, stdin: str) -> list[etcdctl.Answer]:
        return await asyncio.gather(*(etcdctl.run(binary, store, line, stdin, at) for store, at in self.stores))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pair]]:
    etcd = real_etcd()
    if etcd is None:
        pytest.skip("needs the executable etcd")
    made = {release: Pair(tmp_path_factory.mktemp(f"etcdctl-{release}"), etcd) for release in RELEASES}
    for pair in made.values():
        for store, _ in pair.stores:
            store.start()
    yield made
    for pair in made.values():
        for store, _ in pair.stores:
            store.close()


@pytest.mark.parametrize(("release", "name"), CASES, ids=[f"{release}-{name}" for release, name in CASES])
async def test_etcdctl_says_the_same_to_ours_and_to_etcd(pairs: dict[str, Pair], release: str, name: str) -> None:
    pair = pairs[release]
    for store, _ in pair.stores:
        await store.ready()
    steps = SHORT.get(name, SCENARIOS[name]) if release == "3.4" else SCENARIOS[name]
    different = []
    for step in steps:
        line, stdin = step if isinstance(step, tuple) else (step, "")
        ours, theirs = (etcdctl.masked(str(answer)) for answer in await pair.run(RELEASES[release], line, stdin))
        if name == "members":  # listed by identity, which comes from the address
            same = sorted(re.split(r"[,\n{}=\"\[\]]+", ours)) == sorted(re.split(r"[,\n{}=\"\[\]]+", theirs))
        else:
            same = ours == theirs
        if not same:
            different.append(f"etcdctl {line}\n--- etcd\n{theirs}\n--- ours\n{ours}")
    assert not different, "\n\n".join(different)


async def _watching(ctl: str, store: ClusterProcesses) -> list[str]:
    header = json.loads((await etcdctl.run(ctl, store, "get nothing -w=json")).out)["header"]
    since = f"--rev={header['revision'] + 1}"  # so that it does not matter when the watch has come through
    async with etcdctl.session(ctl, store, "watch -i") as watch:
        await watch.type(f"watch w/ --prefix --prev-kv {since}")
        await watch.type(f"watch gone {since} -- echo started by a watch")
        await etcdctl.run(ctl, store, "put gone 1")
        await watch.hear(4)  # PUT, key, value, and the command's output
        await etcdctl.run(ctl, store, "put w/1 a")
        await watch.hear(3)
        await etcdctl.run(ctl, store, "put w/1 b")
        await watch.hear(5)
        await etcdctl.run(ctl, store, "del w/ --prefix")
        await watch.hear(4)
        return watch.said


async def _keeping_alive(ctl: str, store: ClusterProcesses) -> list[str]:
    granted = (await etcdctl.run(ctl, store, "lease grant 2")).out
    id = granted.split()[1]
    async with etcdctl.session(ctl, store, f"lease keep-alive {id}") as alive:
        await alive.hear(3)  # longer than its time
        revoked = (await etcdctl.run(ctl, store, f"lease revoke {id}")).out
        await alive.hear(1)
        return [granted, *alive.said, revoked]


async def _electing(ctl: str, store: ClusterProcesses) -> list[str]:
    async with etcdctl.session(ctl, store, "elect chair ann") as first:
        await first.hear(2)
        async with etcdctl.session(ctl, store, "elect -l chair") as listener:
            await listener.hear(2)
            return [*first.said, *listener.said]


async def _locking(ctl: str, store: ClusterProcesses) -> list[str]:
    async with etcdctl.session(ctl, store, "lock mutex") as first:
        await first.hear(1)
        inside = asyncio.create_task(etcdctl.run(ctl, store, "lock mutex echo the second one is in"))
        while len((await etcdctl.run(ctl, store, "get mutex --prefix --keys-only")).out.split()) < 2:
            assert not inside.done()
    return [*first.said, str(await inside)]


async def _mirroring(ctl: str, store: ClusterProcesses) -> list[str]:
    await etcdctl.run(ctl, store, "put from/1 a")
    destination = f"make-mirror --prefix from/ --dest-prefix to/ {store.urls[0].removeprefix('http://')}"
    async with etcdctl.session(ctl, store, destination):
        await etcdctl.run(ctl, store, "put from/2 b")
        async with asyncio.timeout(etcdctl.DEADLINE):
            while (found := (await etcdctl.run(ctl, store, "get to/ --prefix")).out).count("to/") < 2:
                pass
    return [found]


SESSIONS = [_watching, _keeping_alive, _electing, _locking, _mirroring]


@pytest.mark.parametrize("play", SESSIONS, ids=[play.__name__.strip("_") for play in SESSIONS])
@pytest.mark.parametrize("release", sorted(RELEASES))
async def test_etcdctl_goes_on_alike_with_ours_and_etcd(pairs: dict[str, Pair], release: str, play: Play) -> None:
    hex_ids = (r"/[0-9a-f]{12,16}\b", "/LEASE"), (r"lease [0-9a-f]{12,16}\b", "lease ID")
    stores = [store for store, _ in pairs[release].stores]
    for store in stores:
        await store.ready()
    played = await asyncio.gather(*(play(RELEASES[release], store) for store in stores))
    ours, theirs = ([etcdctl.masked(text, hex_ids) for text in said] for said in played)
    assert ours == theirs
    assert all(ours)
