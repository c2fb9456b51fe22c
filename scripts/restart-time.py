#!/usr/bin/env python3
"""How long a node of three that was killed (kill -9) takes to be back, with thousands of partitions.

    scripts/restart-time.py target/release/jackdaw [PARTITIONS]

Makes 3,000 partitions with a replica on every node. Each node in turn is killed, a record is written to each partition that
lost its leader, and the node is started again. Printed is the time from its start until it is ready, until all replicas are in sync, and
until each node leads its share (within 10 %). Exit code 1 where the replicas take more than 10 s or the leaders more than 60.

Needs Python 3 and confluent-kafka (`pip install confluent-kafka`). Runs on free ports in temporary folders (TMPDIR says where).
"""

import os
import sys
import time

from direct import DirectClient
from jackdaw_nodes import JackdawNode
from steady import PATIENCE_S, BrokerWatch, running, wait

TOPIC, PARTITIONS, IN_SYNC_S, EVEN_S = "restart", 3000, 10, 60


def round_of(nodes, number, watch, client, partitions):
    node = nodes[number]
    node.process.kill()
    node.process.wait()
    others = [other.kafka for other in nodes.values() if other is not node]
    wait("nobody is led by the dead node", lambda: number not in watch.leaders(TOPIC).values())
    if not client.write(client.unled(others), others, PATIENCE_S):
        sys.exit(f"not within {PATIENCE_S} s: a record in each partition that lost its leader")
    begun = time.monotonic()
    node.start()
    took = []
    for what, condition in [
        ("ready", node.is_ready),
        ("every replica in sync", lambda: watch.is_whole(TOPIC, partitions)),
        ("leaders spread evenly", lambda: watch.is_even(TOPIC)),
    ]:
        wait(what, condition)
        took.append(time.monotonic() - begun)
    ready, in_sync, even = took
    print(f"node {number}: ready {ready:.2f} s, every replica in sync {in_sync:.2f} s, leaders even {even:.2f} s", flush=True)
    return in_sync <= IN_SYNC_S and even <= EVEN_S


def main():
    binary = os.path.abspath(sys.argv[1])
    partitions = int(sys.argv[2]) if len(sys.argv) > 2 else PARTITIONS
    with running(JackdawNode, binary) as nodes:
        watch = BrokerWatch(nodes)
        watch.create(TOPIC, partitions)
        wait("leaders spread evenly", lambda: watch.is_even(TOPIC))
        client = DirectClient(nodes[1].kafka, TOPIC)
        are_within = [round_of(nodes, number, watch, client, partitions) for number in nodes]
    sys.exit(0 if all(are_within) else 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
