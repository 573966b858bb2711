"""The store: a key-value database that a majority of its members agrees on, and that speaks etcd's v3 API.

``raft/`` is the algorithm without any I/O, ``wal`` what a member has promised, ``mvcc/`` the keys with their revisions,
``server/`` a member around them, ``client/`` how the API server talks to it (or to a real etcd), ``proto/`` the messages and
``grpc/`` what carries them.
Read ``raft/__init__``, ``wal``, ``mvcc/__init__`` and ``server/node`` in this order; ``docs/store.md`` says what is promised.
"""
