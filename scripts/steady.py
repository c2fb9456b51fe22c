"""Nodes that run for a while, a producer at a steady pace, and a look at who leads: what scripts that measure
acknowledgements share."""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time

from jackdaw_nodes import NODES
from nodes import free_ports

try:
    from confluent_kafka import KafkaException, Producer
    from confluent_kafka.admin import AdminClient, NewTopic
except ImportError:
    sys.exit("confluent-kafka is missing: pip install confluent-kafka")

PATIENCE_S = 120


def wait(what, condition):
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > PATIENCE_S:
            sys.exit(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def running(node_type, what, count=len(NODES), inside=None):
    """Nodes of a type by number, started and in the end killed; `what` they are made of. Their data is in a folder of its
    own, `inside` another one if that is given. Of a run that fails the logs stay."""
    ports = free_ports(3 * count)
    ports = {n: ports[3 * n - 3 : 3 * n] for n in range(1, count + 1)}
    folder = tempfile.mkdtemp(dir=inside)
    nodes, has_failed = {}, True
    try:
        nodes = {n: node_type(what, folder, n, ports) for n in ports}
        for node in nodes.values():
            node.start()
        yield nodes
        has_failed = False
    finally:
        for node in nodes.values():
            if hasattr(node, "process"):
                node.process.kill()
                node.process.wait()
        for found in os.scandir(folder):
            if found.is_dir():
                shutil.rmtree(found.path)
        if has_failed:
            print(f"what the nodes said: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


def producer(bootstrap):
    """An idempotent one, with librdkafka's defaults otherwise."""
    return Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})


class Steady:
    """Writes to every partition of a topic once per interval while it is entered."""

    def __init__(self, bootstrap, topic, partitions, interval_s):
        self.topic, self.interval_s = topic, interval_s
        # Per partition: when each record was sent, and when it was acknowledged.
        self.acknowledged = [[] for _ in range(partitions)]
        self.failed, self.ends = [], threading.Event()
        self.producer = producer(bootstrap)
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ends.set()
        self.thread.join()
        if self.failed and kind is None:
            sys.exit(f"{len(self.failed)} sends failed, the first with: {self.failed[0]}")

    def send(self, partition):
        sent = time.monotonic()

        def delivered(error, _message):
            if error is None:
                self.acknowledged[partition].append((sent, time.monotonic()))
            else:
                self.failed.append(str(error))

        self.producer.produce(self.topic, b"x" * 100, partition=partition, on_delivery=delivered)

    def run(self):
        due = time.monotonic()
        while not self.ends.is_set():
            for partition in range(len(self.acknowledged)):
                self.send(partition)
            due += self.interval_s
            while (left := due - time.monotonic()) > 0:
                self.producer.poll(min(left, 0.001))
            self.producer.poll(0)
        self.producer.flush(PATIENCE_S)

    def writes_everywhere(self, since):
        """Whether each partition has acknowledged a record that was sent later: what was sent before may be answered late, by
        a node that has died since."""
        return all(times and times[-1][0] > since for times in self.acknowledged)

    def gaps_ms(self, begin, end):
        """The longest time between two acknowledgements of each partition that overlaps that from `begin` to
        `end`."""
        for times in self.acknowledged:
            at = [acknowledged for _, acknowledged in times]
            yield max(b - a for a, b in zip(at, at[1:]) if b > begin and a < end) * 1000

    def p99_ms(self, seconds):
        """The 99th percentile of the time to the acknowledgement of what is sent within the next seconds."""
        begin = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        wait("acknowledgements", lambda: self.writes_everywhere(end))
        took = sorted(b - a for times in self.acknowledged for a, b in times if begin <= a < end)
        return took[int(len(took) * 0.99)] * 1000


class BrokerWatch:
    """Who leads, over the Kafka protocol."""

    def __init__(self, nodes):
        self.bootstrap = ",".join(f"127.0.0.1:{node.kafka}" for node in nodes.values())
        self.nodes, self.admin = list(nodes), AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def brokers(self):
        try:
            return self.admin.list_topics(timeout=2).brokers
        except KafkaException:
            return {}

    def partitions(self, topic):
        try:
            return self.admin.list_topics(topic, timeout=2).topics[topic].partitions
        except (KafkaException, KeyError):
            return {}

    def create(self, topic, partitions):
        """A topic with a replica on every node; returns when all are in sync."""
        wait("all nodes", lambda: len(self.brokers()) == len(self.nodes))
        self.admin.create_topics([NewTopic(topic, partitions, len(self.nodes))])[topic].result(PATIENCE_S)
        wait("every replica in sync", lambda: self.is_whole(topic, partitions))

    def leaders(self, topic):
        return {index: partition.leader for index, partition in self.partitions(topic).items()}

    def is_whole(self, topic, count):
        found = self.partitions(topic).values()
        return len(found) == count and all(p.leader > 0 and len(p.isrs) == len(self.nodes) for p in found)

    def is_even(self, topic):
        """Whether each node leads its share of the partitions, give or take a tenth of that, or less than one."""
        led = list(self.leaders(topic).values())
        share = len(led) / len(self.nodes)
        off = [abs(led.count(node) - share) for node in self.nodes]
        return all(more < 1 or more <= share / 10 for more in off)

    def busiest(self, topic):
        return max(self.nodes, key=list(self.leaders(topic).values()).count)
