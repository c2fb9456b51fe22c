#!/usr/bin/env python3
"""What a disk that takes 300 ms for each fdatasync does to a cluster of three nodes.

    scripts/stalled-disk.py target/release/jackdaw [SECONDS]

A producer writes to a topic of one partition 200 times a second, acks=all. strace(1) delays the syncs of a
follower: the 99th percentile of the time to the acknowledgement must not grow by more than half. Then it delays
those of the leader: nobody may be elected in its place. 15 s each unless told otherwise. Needs Python 3,
confluent-kafka (`pip install confluent-kafka`), and strace with the right to trace. Runs on free ports in
temporary folders. Exit code 1 if either does not hold.
"""

import shutil
import subprocess
import sys
import time

from jackdaw_nodes import NODES, JackdawNode
from steady import BrokerWatch, Steady, running, wait

TOPIC, INTERVAL_S, GROWTH_MAX = "stalled", 0.005, 1.5
SYNCS = "fdatasync,fsync,syncfs"


class Stall:
    """Delays every sync of a process while it is entered."""

    def __init__(self, pid):
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={SYNCS}"]
        self.command = [*command, "-e", f"inject={SYNCS}:delay_enter=300000", "-p", str(pid)]
        self.pid = pid

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE)
        wait("strace has attached", self.is_traced)

    def is_traced(self):
        if self.process.poll() is not None:
            sys.exit(f"strace: {self.process.stderr.read().decode()}")
        status = open(f"/proc/{self.pid}/status").read()
        return "TracerPid:\t0" not in status

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def won(nodes):
    """Elections won so far, on all nodes."""
    lines = [line for node in nodes.values() for line in node.get("/metrics").decode().splitlines()]
    return sum(float(line.split()[-1]) for line in lines if line.startswith("jackdaw_elections_won_total"))


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    if shutil.which("strace") is None:
        sys.exit("strace is missing: apt-get install strace")
    seconds = float(sys.argv[2]) if len(sys.argv) == 3 else 15
    with running(JackdawNode, sys.argv[1]) as nodes:
        holds = measure(nodes, seconds)
    sys.exit(0 if holds else 1)


def measure(nodes, seconds):
    watch = BrokerWatch(nodes)
    watch.create(TOPIC, 1)
    leader = watch.leaders(TOPIC)[0]
    follower = next(n for n in NODES if n != leader)
    with Steady(watch.bootstrap, TOPIC, 1, INTERVAL_S) as writer:
        time.sleep(2)
        quiet = writer.p99_ms(seconds)
        with Stall(nodes[follower].process.pid):
            stalled = writer.p99_ms(seconds)
        growth = stalled / quiet
        print(f"p99 of acknowledgements: {quiet:.1f} ms; a follower's disk stalled: {stalled:.1f} ms ({growth:.2f} x)")
        before = won(nodes)
        with Stall(nodes[leader].process.pid):
            of_leader = writer.p99_ms(seconds)
        elections = won(nodes) - before
        print(f"the leader's disk stalled: p99 {of_leader:.1f} ms, {elections:.0f} elections")
    return growth <= GROWTH_MAX and elections == 0


if __name__ == "__main__":
    main()
