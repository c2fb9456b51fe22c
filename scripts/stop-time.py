#!/usr/bin/env python3
"""How long writes stand still when nodes that lead thousands of partitions are told to stop (SIGTERM), and how long
a node takes to stop.

    scripts/stop-time.py target/release/jackdaw [PARTITIONS]

Three nodes hold 3,000 partitions, or PARTITIONS, beside 12 to which an idempotent producer (librdkafka's defaults, acks=all)
writes every 20 ms. Each node in turn is stopped and started again, and the next one once all is in sync and leaders are even.
A gap is the longest time between two acknowledgements of one partition around a stop; its bar is 300 ms (exit code 1 beyond
it). Needs Python 3 and confluent-kafka (`pip install confluent-kafka`). Runs on free ports in temporary folders (TMPDIR says
where).
"""

import sys
import time

from jackdaw_nodes import JackdawNode
from steady import BrokerWatch, Steady, running, wait

TOPIC, FEW, MANY = "stopping", 12, "many"
INTERVAL_S, QUIET_S, BAR_MS = 0.02, 2, 300


def is_whole(watch, many):
    """Whether every replica is in sync, and leaders of either topic are even."""
    return all(watch.is_whole(topic, count) and watch.is_even(topic) for topic, count in [(TOPIC, FEW), (MANY, many)])


def stop(nodes, number, watch, many, writer):
    """Stops one node and starts it again; the largest gap, and how long the node took to stop, in ms."""
    wait("all in sync and even", lambda: is_whole(watch, many))
    time.sleep(QUIET_S)
    process = nodes[number].process
    begin = time.monotonic()
    wait("writes to every partition", lambda: writer.writes_everywhere(begin))
    process.terminate()
    process.wait()
    took = time.monotonic() - begin
    gone = time.monotonic()
    wait("writes to every partition", lambda: writer.writes_everywhere(gone))
    nodes[number].start()
    return max(writer.gaps_ms(begin, gone)), took * 1000


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    binary, many = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    gaps = []
    with running(JackdawNode, binary) as nodes:
        watch = BrokerWatch(nodes)
        for topic, count in [(TOPIC, FEW), (MANY, many)]:
            watch.create(topic, count)
        with Steady(watch.bootstrap, TOPIC, FEW, INTERVAL_S) as writer:
            for number in nodes:
                gap, took = stop(nodes, number, watch, many, writer)
                print(f"node {number}: gap {gap:.0f} ms, stopped after {took:.0f} ms", flush=True)
                gaps.append(gap)
    print(f"largest gap: {max(gaps):.0f} ms")
    sys.exit(int(max(gaps) > BAR_MS))


if __name__ == "__main__":
    main()
