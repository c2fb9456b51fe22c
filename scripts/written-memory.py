"""Resident memory of three nodes with thousands of partitions: fresh, and while each is written to thousands of times.

    scripts/written-memory.py target/release/jackdaw [PARTITIONS [WRITES]]

Makes 3,000 partitions with a replica on every node, and writes 10,000 records to each, one at a time (acks=all): a client
per leader sends requests with a record for each of its partitions, some of them ahead of the answers. Printed is what
each node has resident, and how much of it is its own (anonymous) and how much mapped files, which the system takes back
when it needs memory. Exit code 1 where it is more than 600 MB fresh.

Needs Python 3 and confluent-kafka (`pip install confluent-kafka`). Runs on free ports in temporary folders (TMPDIR says where).
"""

import os
import socket
import struct
import sys
import threading
import time
from collections import Counter

from direct import PRODUCE, batch, leaders
from jackdaw_nodes import NODES, JackdawNode
from nodes import text
from steady import PATIENCE_S, BrokerWatch, running, wait

TOPIC, PARTITIONS, WRITES, MB_MAX, AHEAD, LOOKS = "written", 3000, 10_000, 600, 8, 5


def request(partitions, records):
    """A request, with its length, that writes `records` to each of the partitions (Produce version 3)."""
    body = struct.pack(">hhii", -1, -1, PATIENCE_S * 1000, 1) + text(TOPIC) + struct.pack(">i", len(partitions))
    body += b"".join(struct.pack(">ii", partition, len(records)) + records for partition in partitions)
    payload = struct.pack(">hhih", PRODUCE, 3, 1, -1) + body
    return struct.pack(">i", len(payload)) + payload


def check(answer, partitions):
    """Ends the run unless all of the partitions acknowledged."""
    at = 8 + 4 + 2 + len(TOPIC) + 4
    high, low = answer[at + 4 :: 22][:partitions], answer[at + 5 :: 22][:partitions]
    if len(high) < partitions or any(high) or any(low):
        codes = sorted({h << 8 | l for h, l in zip(high, low)})
        sys.exit(f"a write was answered with error codes {codes}")


def write(port, partitions, count):
    """Writes `count` records to each of the partitions, which the broker at `port` leads."""
    payload, under_way = request(partitions, batch(b"x" * 50)), 0
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection, connection.makefile("rb") as answers:
        for number in range(count + AHEAD):
            if number < count:
                connection.sendall(payload)
                under_way += 1
            if under_way > AHEAD or number >= count and under_way:
                length = answers.read(4)
                check(length + answers.read(struct.unpack(">i", length)[0]), len(partitions))
                under_way -= 1


def write_all(nodes, count):
    led, ports = leaders(nodes[1].kafka, TOPIC)
    failed = []

    def run(port, partitions):
        try:
            write(port, partitions, count)
        except (OSError, SystemExit) as error:
            failed.append(error)

    by_port = {}
    for partition, leader in led.items():
        by_port.setdefault(ports[leader], []).append(partition)
    threads = [threading.Thread(target=run, args=one) for one in by_port.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"not all was written: {failed[0]}")


def is_settled(watch):
    """Whether every node leads its share, to the partition: nothing moves any more."""
    led = Counter(watch.leaders(TOPIC).values())
    return len(led) == len(NODES) and max(led.values()) - min(led.values()) <= 1


def show(nodes, what):
    memory = [node.memory_mb() for node in nodes.values()]
    each = "; ".join(f"{m['VmRSS']:.0f} ({m['RssAnon']:.0f} own, {m['RssFile']:.0f} files)" for m in memory)
    print(f"{what}: MB per node {each}", flush=True)
    return max(m["VmRSS"] for m in memory)


def main():
    partitions, writes = ([int(a) for a in sys.argv[2:]] + [PARTITIONS, WRITES][len(sys.argv) - 2 :])[:2]
    with running(JackdawNode, os.path.abspath(sys.argv[1])) as nodes:
        watch = BrokerWatch(nodes)
        watch.create(TOPIC, partitions)
        wait("leaders spread evenly", lambda: is_settled(watch))
        fresh_mb = show(nodes, f"{partitions} partitions, fresh")
        written, begun = 0, time.monotonic()
        for look in range(1, LOOKS + 1):
            step = writes * look // LOOKS - written
            write_all(nodes, step)
            written += step
            show(nodes, f"{written} writes to each, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if fresh_mb <= MB_MAX else 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
