"""``--experimental-initial-corrupt-check``: a member whose keys are not those of the others does not begin to serve.

It compares the hash of its keys with that of every member it can reach, at its own revision. Who cannot be reached, has not come as far
or has compacted elsewhere proves nothing either way.
"""

import asyncio
import logging
from typing import Any

from etcd_raft.mvcc.hashing import hash_keys
from etcd_raft.server.member import Member
from etcd_raft.server.node import Fatal
from etcd_raft.server.peers import PeerError

log = logging.getLogger(__name__)


async def check(member: Member) -> None:
    """Raises ``Fatal`` when another member has other keys."""
    store = member.state.store
    revision, compacted = store.revision, store.compacted
    mine = await hash_keys(store, revision)
    for id, other in member.state.membership.members.items():
        if id == member.id:
            continue
        theirs = await _ask(member, list(other.peerURLs), revision)
        if theirs is None:
            continue
        if theirs["compacted"] != compacted:
            log.warning(
                "cannot compare with member %x: compacted at %d there, at %d here", id, theirs["compacted"], compacted
            )
        elif theirs["hash"] != mine:
            raise Fatal(
                f"member {member.id:x} found data inconsistency with peers: at revision {revision} the hash is {mine} here and "
                f"{theirs['hash']} at member {id:x}; add this member again with an empty data directory"
            )
    log.info("no member that could be asked has other keys at revision %d", revision)


async def _ask(member: Member, urls: list[str], revision: int) -> Any:
    for url in urls:
        try:
            return await member.transport.ask(url, "hash", revision)
        except (OSError, PeerError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.warning("cannot compare keys with %s: %s", url, error or type(error).__name__)
    return None
