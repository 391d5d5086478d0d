"""A picture stays the same in fewer bytes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from servetwin.report.png import recompressed

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def drawn(width: int, height: int) -> tuple[bytes, bytes]:
    """A PNG of random grey pixels, in two IDAT chunks without compression; and its rows."""
    pixels = np.random.default_rng(3).integers(0, 4, (height, width), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = zlib.compress(rows, 0)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"pHYs", b"\0" * 9)]
    parts += [chunk(b"IDAT", data[:100]), chunk(b"IDAT", data[100:]), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts), rows


def test_pixels_and_other_chunks_stay() -> None:
    png, rows = drawn(90, 70)
    smaller = recompressed(png)
    assert len(smaller) < len(png) / 2
    head = png[: png.index(b"IDAT") - 4]
    assert smaller.startswith(head)
    size, kind = struct.unpack_from(">I4s", smaller, len(head))
    body = smaller[len(head) + 8 : len(head) + 8 + size]
    assert (kind, zlib.decompress(body)) == (b"IDAT", rows)
    assert smaller[len(head) :] == chunk(b"IDAT", body) + chunk(b"IEND", b"")
    assert recompressed(smaller) == smaller


def test_what_is_no_png_is_refused() -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        recompressed(b"GIF89a")


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.png")), ids=lambda path: path.name)
def test_pictures_of_the_guides_are_small(path: Path) -> None:
    assert path.stat().st_size < 160_000
    assert recompressed(path.read_bytes()) == path.read_bytes()
