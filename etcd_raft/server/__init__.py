"""The member: everything with a socket, a clock or a disk around the pure core and the state.

``config`` (flags), ``member`` (data directory, identity, start), ``node`` (the one task that drives Raft: drain, persist,
send, apply), ``apply`` (entries become state), ``membership`` (who is in the cluster), ``peers`` (the wire between members),
``services`` and ``watching`` (the etcd API), ``endpoints`` (gRPC), ``health`` (HTTP).
"""
