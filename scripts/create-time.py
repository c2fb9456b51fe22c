#!/usr/bin/env python3
"""Time from a request for many new partitions to all of them having a leader and level replicas, on a
cluster of three nodes; then each node's resident memory and idle CPU.

    scripts/create-time.py target/release/jackdaw [PARTITIONS [TOPICS]]

3,000 partitions in 30 topics unless told otherwise, asked for in one CreateTopics request, three replicas
each. Needs nothing but Python 3. Runs on free ports in temporary folders (TMPDIR says where). Exit code 1
beyond 10 s, 600 MB per node, or 3 % of a core per idle node.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import time

from jackdaw_nodes import NODES, JackdawNode
from nodes import create_topics, free_ports

S_MAX, MB_MAX, IDLE_MAX, PATIENCE_S, IDLE_S = 10, 600, 3, 180, 5


def create(node, topics, partitions):
    shares = [partitions // topics + (number < partitions % topics) for number in range(topics)]
    named = {f"topic{number:04}": share for number, share in enumerate(shares)}
    with socket.create_connection(("127.0.0.1", node.kafka), timeout=PATIENCE_S) as connection:
        create_topics(connection, named, len(NODES), PATIENCE_S)


def led(view):
    return sum(p["leader"] is not None for topic in view["topics"] for p in topic["partitions"])


def level(views):
    """How many partitions have a leader whose whole log is committed and on every node."""
    replicas = {}
    for view in views:
        for replica in view["replicas"]:
            replicas.setdefault((replica["topic"], replica["partition"]), []).append(replica)
    return sum(is_level(found) for found in replicas.values())


def is_level(found):
    ends = {replica["last_index"] for replica in found}
    leaders = [r for r in found if r["is_leader"] and r["committed_index"] == r["last_index"] > 0]
    return len(found) == len(NODES) and len(ends) == 1 and len(leaders) == 1


def run(nodes, partitions, topics):
    begun = time.perf_counter()
    while not all(node.is_ready() for node in nodes):
        if time.perf_counter() - begun > PATIENCE_S:
            sys.exit("the nodes are not ready:\n" + open(nodes[0].log).read())
        time.sleep(0.05)
    cpu_before = [node.cpu_s() for node in nodes]
    begun = time.perf_counter()
    create(nodes[0], topics, partitions)
    answered_s = time.perf_counter() - begun
    led_s = None
    while True:
        views = [json.loads(nodes[0].get("/api/v1/cluster"))]
        now_led = led(views[0])
        if now_led == partitions:
            led_s = led_s or time.perf_counter() - begun
            views += [json.loads(node.get("/api/v1/cluster")) for node in nodes[1:]]
            if level(views) == partitions:
                break
        if time.perf_counter() - begun > PATIENCE_S:
            sys.exit(f"{now_led} of {partitions} partitions are led, {level(views)} are level")
        time.sleep(0.25)
    took_s = time.perf_counter() - begun
    cpu = [node.cpu_s() - before for node, before in zip(nodes, cpu_before)]
    # Idle is a state that only time shows; what is written behind is written by then.
    time.sleep(IDLE_S)
    idle_before = [node.cpu_s() for node in nodes]
    time.sleep(IDLE_S)
    idle = [100 * (node.cpu_s() - before) / IDLE_S for node, before in zip(nodes, idle_before)]
    memory = [node.resident_mb() for node in nodes]

    def each(values, form):
        return " ".join(form.format(value) for value in values)

    print(f"{partitions} partitions in {topics} topics: answered {answered_s:.1f} s, all led {led_s:.1f} s, level {took_s:.1f} s")
    print(f"CPU per node, s: {each(cpu, '{:.1f}')}; idle, % of a core: {each(idle, '{:.1f}')}")
    print(f"resident memory per node, MB: {each(memory, '{:.0f}')}")
    return took_s <= S_MAX and max(memory) <= MB_MAX and max(idle) <= IDLE_MAX


def main():
    binary = os.path.abspath(sys.argv[1])
    partitions, topics = ([int(a) for a in sys.argv[2:]] + [3000, 30][len(sys.argv) - 2 :])[:2]
    with tempfile.TemporaryDirectory() as folder:
        flat = free_ports(3 * len(NODES))
        ports = {n: flat[3 * i : 3 * i + 3] for i, n in enumerate(NODES)}
        nodes = [JackdawNode(binary, folder, n, ports) for n in NODES]
        for node in nodes:
            node.start()
        try:
            is_within = run(nodes, partitions, topics)
        finally:
            for node in nodes:
                node.process.send_signal(signal.SIGTERM)
            for node in nodes:
                node.process.wait()
    sys.exit(0 if is_within else 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
