"""Protobuf request bodies (``application/vnd.kubernetes.protobuf``): newer kubectl creates objects with them.

A body becomes the same JSON-like value that a JSON body would be and goes on through the same checks; answers are
always JSON, which such clients accept too. ``decode`` reads the wire, ``fields.json.gz`` holds the field numbers.
"""

from apiserver.protobuf.decode import MEDIA_TYPE, MalformedBody, decode_body

__all__ = ["MEDIA_TYPE", "MalformedBody", "decode_body"]
