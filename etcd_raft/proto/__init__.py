"""The wire: protobuf messages of the etcd v3 API and of what our own Raft log holds.

``kv.proto``, ``auth.proto`` and ``rpc.proto`` carry etcd's names and numbers, because they are what ``etcdctl`` and
the API server speak; ``internal.proto`` is ours alone. ``python -m etcd_raft.proto.generate`` (needs grpcio-tools)
rewrites the ``*_pb2.py`` modules, which are committed so that nobody needs a compiler to run the store.
"""
