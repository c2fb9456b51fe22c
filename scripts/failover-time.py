#!/usr/bin/env python3
"""How long writes stand still when the busiest leader of three nodes is killed (kill -9): for Jackdaw, and
for Apache Kafka with its defaults beside it.

    scripts/failover-time.py target/release/jackdaw [ROUNDS [PARTITIONS]]
    scripts/failover-time.py target/kafka/libs [ROUNDS [PARTITIONS]]      # the jars: see scripts/kafka_nodes.py

An idempotent producer (librdkafka's defaults, acks=all) writes to each of 12 partitions every 20 ms. A gap is
the longest time between two acknowledgements of one partition around a kill. The node is started again and in sync before the next round. With another number of
PARTITIONS those that lost their leader are written to once right after the kill, and what counts is the time from the
kill until the last of them has acknowledged. Needs Python 3 and confluent-kafka (`pip install confluent-kafka`). Runs on free ports in temporary
folders (TMPDIR says where). Jackdaw has bars, exit code 1 beyond them: a median of 250 ms and a 99th percentile of
500 ms with 12 partitions, a largest gap of 1 s with any number.
"""

import os
import statistics
import sys
import time

from direct import DirectClient
from jackdaw_nodes import JackdawNode
from kafka_nodes import KafkaNode
from steady import PATIENCE_S, BrokerWatch, Steady, running, wait

TOPIC, FEW, INTERVAL_S, QUIET_S = "failover", 12, 0.02, 2
BARS_MS = {"median": 250, "99th percentile": 500, "largest": 1000}


class Few(Steady):
    """Gaps of the few partitions that are written to all the time."""

    def around_a_kill(self, kill):
        settled = time.monotonic()
        # Without an acknowledgement before it there would be no gap to see.
        wait("writes to every partition", lambda: self.writes_everywhere(settled))
        begin = time.monotonic()
        kill()
        gone = time.monotonic()
        wait("writes to every partition", lambda: self.writes_everywhere(gone))
        time.sleep(QUIET_S)
        return max(self.gaps_ms(begin, time.monotonic() - QUIET_S / 2))


class Many:
    """The time until each of the many partitions that lost their leader has acknowledged a record."""

    def __init__(self, nodes, partitions):
        self.nodes, self.partitions = nodes, partitions

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def took_ms(self, client, partitions, begin):
        if not client.write(partitions, self.running(), PATIENCE_S):
            sys.exit(f"not within {PATIENCE_S} s: a record in each of {len(partitions)} partitions")
        return (time.monotonic() - begin) * 1000

    def running(self):
        return [node.kafka for node in self.nodes.values() if node.process.poll() is None]

    def around_a_kill(self, kill):
        client = DirectClient(self.nodes[1].kafka, TOPIC)
        everywhere = self.took_ms(client, client.led, time.monotonic())
        begin = time.monotonic()
        kill()
        lost = client.unled(self.running())
        gap = self.took_ms(client, lost, begin)
        print(f"a record in each of {len(client.led)} without a kill: {everywhere:.0f} ms; in the {len(lost)} that lost "
              "their leader, ", end="")
        return gap


def round_of(nodes, watch, count, writer, balances):
    wait("every replica in sync", lambda: watch.is_whole(TOPIC, count))
    if balances:
        wait("leaders spread evenly", lambda: watch.is_even(TOPIC))
    time.sleep(QUIET_S)
    victim = nodes[watch.busiest(TOPIC)]

    def kill():
        victim.process.kill()
        victim.process.wait()

    gap = writer.around_a_kill(kill)
    victim.start()
    return gap


def measure(nodes, rounds, count, balances):
    watch, gaps = BrokerWatch(nodes), []
    watch.create(TOPIC, count)
    few = count == FEW
    with Few(watch.bootstrap, TOPIC, count, INTERVAL_S) if few else Many(nodes, count) as writer:
        for number in range(1, rounds + 1):
            gaps.append(round_of(nodes, watch, count, writer, balances))
            print(f"kill {number}: {gaps[-1]:.0f} ms", flush=True)
    return gaps


def report(gaps):
    gaps = sorted(gaps)
    found = {
        "median": statistics.median(gaps),
        "99th percentile": gaps[min(len(gaps) - 1, int(len(gaps) * 0.99))],
        "largest": gaps[-1],
    }
    print(f"{len(gaps)} gaps, ms: " + ", ".join(f"{name} {ms:.0f}" for name, ms in found.items()))
    return found


def main():
    if len(sys.argv) not in (2, 3, 4) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    what, rounds, count = sys.argv[1], *(int(n) for n in sys.argv[2:] + ["30", str(FEW)][len(sys.argv) - 2 :])
    is_kafka = os.path.isdir(what)
    node_type = KafkaNode if is_kafka else JackdawNode
    with running(node_type, what) as nodes:
        found = report(measure(nodes, rounds, count, balances=not is_kafka))
    bars = {} if is_kafka else BARS_MS if count == FEW else {"largest": BARS_MS["largest"]}
    sys.exit(int(any(found[name] > bar for name, bar in bars.items())))


if __name__ == "__main__":
    main()
