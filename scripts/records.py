"""Records for the scripts that need many: batches, Produce, and Fetch of single offsets."""

import struct
import time

from nodes import ask, text


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def crc32c(data, table=crc32c_table()):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = value << 1 ^ value >> 63
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def batch(records, value_bytes):
    """A record batch (magic 2) of `records` equal values, of no producer in particular."""
    body = b""
    for delta in range(records):
        record = b"\0\0" + varint(delta) + varint(-1) + varint(value_bytes) + b"v" * value_bytes + b"\0"
        body += varint(len(record)) + record
    now = int(time.time() * 1000)
    covered = struct.pack(">hiqqqhii", 0, records - 1, now, now, -1, -1, -1, records) + body
    return struct.pack(">qiibI", 0, len(covered) + 9, -1, 2, crc32c(covered)) + covered


def results(answer, at, each):
    """Reads one topic's partitions: {partition: what `each` reads behind its index, and the next position}."""
    at += 4
    at += 2 + struct.unpack_from(">h", answer, at)[0]
    found, count = {}, struct.unpack_from(">i", answer, at)[0]
    at += 4
    for _ in range(count):
        partition = struct.unpack_from(">i", answer, at)[0]
        found[partition], at = each(at + 4)
    return found


def one_topic(topic, partitions, each):
    return struct.pack(">i", 1) + text(topic) + struct.pack(">i", len(partitions)) + b"".join(map(each, partitions))


def produce(connection, topic, partitions, records, timeout_ms=30_000):
    """Writes one batch to each of `partitions` with acks=all; {partition: (error, base offset)}."""
    head = struct.pack(">hhi", -1, -1, timeout_ms)
    each = lambda p: struct.pack(">ii", p, len(records)) + records
    answer = ask(connection, 0, 3, head + one_topic(topic, partitions, each))
    return results(answer, 0, lambda at: (struct.unpack_from(">hq", answer, at), at + 18))


def fetch(connection, topic, offsets):
    """Fetches from the batch that holds the offset on, of every partition; {partition: (error, bytes of records)}."""
    head = struct.pack(">iiiib", -1, 0, 0, 1 << 30, 0)
    each = lambda p: struct.pack(">iqi", p, offsets[p], 1 << 16)
    answer = ask(connection, 1, 4, head + one_topic(topic, list(offsets), each))

    def read(at):
        error, _, _, aborted = struct.unpack_from(">hqqi", answer, at)
        at += 22 + 16 * max(aborted, 0)
        size = max(struct.unpack_from(">i", answer, at)[0], 0)
        return (error, size), at + 4 + size

    return results(answer, 4, read)
