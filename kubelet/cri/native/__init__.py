"""The embedded runtime: Linux namespaces, cgroups and overlayfs, without an engine or a daemon.

Who is who, from the kubelet down::

    kubelet ── runtime.py        the CRI calls; what exists is on disk (records.py), never only in memory
      └─ spawner                 one small preloaded process a kubelet has; forks the two below in a millisecond
           ├─ pause              one a sandbox: `sleep infinity` that holds the pod's net, ipc and uts namespaces and /dev/shm
           └─ monitor (shim)     one a container: holds its stdio, writes its log, reaps it, records its exit code
                └─ container     pid 1 of its own pid and mount namespace, root on an overlay that only it sees

Nothing is mounted in the host's mount namespace and no namespace is kept by a file: what a dead machine or a dead
kubelet leaves are processes that the records name, and cgroups and links that carry the node's key.
The pause process and the monitors outlive the kubelet; a new kubelet finds them by the records and the monitors' sockets.

Read :mod:`.runtime`, then :mod:`.shim` (what runs in the small processes), :mod:`.records`, :mod:`.cgroups`, :mod:`.purge`.
"""
