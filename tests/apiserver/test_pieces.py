"""Long bodies in pieces."""

import zlib

import pytest

from apiserver.pieces import PIECE_BYTES, Pieces
from apiserver.response import _gzip


@pytest.mark.parametrize("sizes", [[], [5], [5] * 3, [3000] * 400, [10] * 40_000, [2 * PIECE_BYTES, 1, 1, PIECE_BYTES]])
def test_pieces_are_the_whole_body_in_order_and_of_one_size(sizes: list[int]) -> None:
    parts = [bytes([97 + i % 26]) * size for i, size in enumerate(sizes)]
    body = Pieces(b"<<", b", ", parts, b">>")
    whole = b"<<" + b", ".join(parts) + b">>"
    assert bytes(body) == whole
    assert len(body) == len(whole)
    pieces = list(body)
    assert b"".join(pieces) == whole
    assert max(map(len, pieces)) <= 2 * max([PIECE_BYTES, *sizes])
    assert zlib.decompress(_gzip(body), 31) == whole
