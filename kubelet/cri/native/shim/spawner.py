"""Forks monitors and pause processes: preloaded once, so that one costs a millisecond and shares its memory.

Started by the kubelet (:mod:`kubelet.cri.native.spawning`) with one end of a ``SEQPACKET`` pair; ends when the other end
closes. Its children do not notice: they belong to init then. A kubelet may have as many as it likes, one after another.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import posix

from . import launch, monitor, syscalls, wire


def main(fd: int) -> None:
    posix.closerange(fd + 1, 1 << 16)  # what the kubelet's starter forgot to close must not reach containers
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
    posix.set_inheritable(fd, False)
    syscalls.prctl(syscalls.PR_SET_NAME, syscalls.name_argument("mk8s-spawner"))
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # children are reaped by the kernel
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # a terminal's ^C is for the kubelet, which then closes us
    # Nothing here makes cycles; a collection would only write to pages that the children share.
    gc.disable()
    gc.freeze()
    while True:
        packet = wire.receive(control)
        if packet is None:
            return
        message, fds = packet
        pid = posix.fork()
        if pid == 0:
            control.close()
            peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fds[0])
            wire.send(peer, {"born": True})  # without it the kubelet knows that we died first, and asks another
            if message["op"] == "pause":
                launch.pause(message["spec"], peer)
            monitor.main(message["spec"], peer)
        for passed in fds:
            posix.close(passed)
