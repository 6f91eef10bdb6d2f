"""A second reader of the journal, written from `spec/journal.md` alone, against the vectors."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
import xxhash

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "journal"
BLOCK = 4096
FILE = struct.Struct("<8sHHI16s16s16sQ32sIIQQ16sQQQQ32s40sQ")
GROUP = struct.Struct("<8sHHBBH16s16s16sIIQQQIIIIQQQQ32s32s32s8sQ")
ENTRY = struct.Struct("<QHHHH16sQQ16sIIQII16s24s")


def checked(header: bytes, magic: bytes) -> bool:
    """Magic first, then the checksum over all but the last eight bytes."""
    return header[:8] == magic and xxhash.xxh3_64_intdigest(header[:-8]) == int.from_bytes(header[-8:], "little")


def padded(length: int, unit: int) -> int:
    return -(-length // unit) * unit


def read_entries(body: bytes, first: int, count: int) -> int:
    """Walks the entries of a body; returns the last timestamp."""
    at, last = 0, 0
    for number in range(first, first + count):
        fields = ENTRY.unpack_from(body, at)
        context, timestamp, row_size, rows, length = fields[4], fields[7], fields[10], fields[12], fields[13]
        assert fields[0] == number
        assert timestamp > last
        assert length == padded(context, 16) + padded(rows * row_size, 16)
        at, last = at + ENTRY.size + length, timestamp
    assert at == len(body)
    return last


def read_journal(folder: Path) -> list[tuple[int, int, int, int, str]]:
    """Every group: number, first entry, entries, last timestamp, chain hash."""
    groups: list[tuple[int, int, int, int, str]] = []
    previous = bytes(32)
    for index, path in enumerate(sorted(folder.glob("*.qxj")), start=1):
        data = path.read_bytes()
        assert checked(data[:256], b"QENEXJF1")
        head = FILE.unpack_from(data)
        assert head[11] == index == int(path.stem)
        assert head[18] == previous
        at = BLOCK
        while at < len(data) and any(data[at : at + BLOCK]):
            header = data[at : at + 256]
            assert checked(header, b"QENEXGR1")
            fields = GROUP.unpack(header)
            number, first, count, body_length, last = fields[12], fields[13], fields[14], fields[16], fields[19]
            body = data[at + 256 : at + 256 + body_length]
            assert number == len(groups) + 1
            assert fields[23] == previous
            assert hashlib.sha256(body).digest() == fields[24]
            assert read_entries(body, first, count) == last
            raw = bytearray(header)
            for begin, end in ((12, 14), (100, 108), (248, 256)):  # codec, cipher, key, body_length, checksum
                raw[begin:end] = bytes(end - begin)
            previous = hashlib.sha256(raw).digest()
            groups.append((number, first, count, last, previous.hex()))
            at += padded(256 + body_length, BLOCK)
    return groups


def test_the_layouts_have_the_sizes_that_the_page_states() -> None:
    assert (FILE.size, GROUP.size, ENTRY.size) == (256, 256, 128)


def test_another_reader_finds_the_same_groups() -> None:
    lines = (VECTORS / "groups.txt").read_text().splitlines()[1:]
    assert [" ".join(map(str, group)) for group in read_journal(VECTORS)] == lines
    assert len(lines) > 5


def test_the_clean_marker_names_the_last_group() -> None:
    marker = (VECTORS / "clean").read_bytes()
    assert checked(marker, b"QENEXCL1")
    number, _entry, timestamp, file, length = struct.unpack_from("<QQQQQ", marker, 48)
    last = read_journal(VECTORS)[-1]
    assert (number, timestamp, marker[88:120].hex()) == (last[0], last[3], last[4])
    assert length == (VECTORS / f"{file:012}.qxj").stat().st_size


def test_a_changed_byte_is_seen(tmp_path: Path) -> None:
    for path in VECTORS.glob("*.qxj"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "000000000002.qxj"
    data = bytearray(target.read_bytes())
    data[BLOCK + 300] ^= 1
    target.write_bytes(data)
    with pytest.raises(AssertionError):
        read_journal(tmp_path)
