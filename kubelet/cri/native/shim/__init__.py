"""What runs in the runtime's small processes: the spawner, the monitors (shims) and the first steps of a container.

These processes live as long as the containers do, one each, so they stay as small as an interpreter can be: started
with ``python -I -S`` and the directory above on ``sys.path`` (so that this package is ``shim`` there and nothing else
of ours is imported), with builtin modules and ``ctypes`` only. Inside, imports are relative.

:mod:`.spawner` forks; :mod:`.monitor` watches one container; :mod:`.launch` builds its namespaces and mounts;
:mod:`.rootfs` its file system; :mod:`.identity` is user, groups and capabilities; :mod:`.seccomp` the default profile;
:mod:`.wire` is how all of them talk; :mod:`.processes` what they know of each other; :mod:`.syscalls` is the kernel.
"""
