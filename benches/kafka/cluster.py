"""What is compared: the brokers of each mode, and what they use of the machine while a client is at work."""

import os
import resource
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))

from jackdaw_nodes import JackdawNode
from kafka_nodes import KafkaNode

# Dirty pages that no longer disturb whoever writes, and how long their writing out may take.
DIRTY_MB, SETTLE_S = 64, 600
SAMPLE_S = 0.2


class KafkaFsyncNode(KafkaNode):
    """Kafka that syncs a log after every message, as far as it can be made to."""

    settings = {"log.flush.interval.messages": 1}


MODES = {"jackdaw": JackdawNode, "kafka": KafkaNode, "kafka-fsync": KafkaFsyncNode}


def dirty_mb():
    with open("/proc/meminfo") as meminfo:
        found = (line.split() for line in meminfo)
        return sum(int(kb) for key, kb, *_ in found if key in ("Dirty:", "Writeback:")) / 1024


def settle():
    """Returns when what was written before is on the disk: no run pays for another one's pages."""
    begin = time.monotonic()
    os.sync()
    while dirty_mb() > DIRTY_MB:
        if time.monotonic() - begin > SETTLE_S:
            sys.exit(f"{dirty_mb():.0f} MB of dirty pages are left after {SETTLE_S} s: something else writes")
        time.sleep(0.1)
        os.sync()


def memory_mb(nodes):
    """Of all brokers together: resident, anonymous, mapped from files; and resident of the largest."""
    each = [node.memory_mb() for node in nodes.values()]
    return {key: sum(found[key] for found in each) for key in each[0]} | {"largest": max(found["VmRSS"] for found in each)}


def clients_cpu_s():
    """Of the clients that have ended: processes that somebody waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Usage:
    """Processor seconds of brokers and clients while this is entered, and the brokers' memory at its largest."""

    def __init__(self, nodes):
        self.nodes, self.ends = nodes, threading.Event()
        self.memory = memory_mb(nodes)
        self.thread = threading.Thread(target=self.sample)

    def brokers_cpu_s(self):
        return sum(node.cpu_s() for node in self.nodes.values())

    def sample(self):
        while not self.ends.wait(SAMPLE_S):
            try:
                self.memory = max(self.memory, memory_mb(self.nodes), key=lambda found: found["VmRSS"])
            except (OSError, KeyError):
                # A broker has ended; the client will say so.
                return

    def __enter__(self):
        self.before = time.monotonic(), self.brokers_cpu_s(), clients_cpu_s()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()
        after = time.monotonic(), self.brokers_cpu_s(), clients_cpu_s()
        self.wall_s, self.broker_cpu_s, self.client_cpu_s = (b - a for a, b in zip(self.before, after))

    def per_gb(self, what, size):
        """Figures named after `what`, which moved `size` bytes of records' values."""
        return {
            f"{what}_cpu_s_gb": self.broker_cpu_s * 1e9 / size,
            f"{what}_client_cpu_s_gb": self.client_cpu_s * 1e9 / size,
            f"{what}_broker_cores": self.broker_cpu_s / self.wall_s,
            f"{what}_client_cores": self.client_cpu_s / self.wall_s,
        }
