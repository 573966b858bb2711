"""gRPC over HTTP/2 on plain asyncio: the wire of the store's clients, in both directions.

Only what gRPC needs of HTTP/2, written so that the common call (one small message each way) is one pass over the bytes that came
and one write: no object for a frame, no coroutine for a flow-control window that is open, header blocks that repeat are looked up
instead of decoded. grpcio does the same in C and costs ten times as much, because every event of it has to cross a thread.

``frames`` (RFC 9113: bytes <-> frames), ``headers`` (HPACK, kept stateless), ``messages`` (gRPC's framing inside DATA, compression),
``status`` (codes, texts, timeouts), ``connection`` (settings, windows, pings: the same on both sides), ``server`` and ``client``.
"""
