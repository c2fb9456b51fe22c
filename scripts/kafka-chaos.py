#!/usr/bin/env python3
"""The same faults for Apache Kafka: its history, and what the checkers find in it.

    sudo scripts/kafka-chaos.py target/release/jackdaw-chaos target/kafka/libs [KILLS [POWER_CUTS]]

Three brokers with Kafka's defaults (the jars: see scripts/kafka_nodes.py), each with its data on an ext4 volume of its
own. `jackdaw-chaos record` writes to a topic of three replicas with min.insync.replicas=2, acks=all, while the broker
that leads most partitions is killed (SIGKILL) and started again, 5 times unless told otherwise, and then the power of
all three volumes is cut at once, 3 times: what was not synced is gone. Prints the report; leaves the history and the
report as a page in target/chaos/kafka.jsonl and .html. Needs root, Python 3, mkfs.ext4, loop devices, Java. Exit code
1 if something is found.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from kafka_nodes import KafkaNode
from nodes import ask, free_ports

NODES = (1, 2, 3)
VOLUME_MIB = 1024
# _IOR('X', 125, __u32) with EXT4_GOING_FLAGS_NOLOGFLUSH: neither data nor the journal is written.
SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, 2
PAUSE_S, READY_S = 5, 120


class Volume:
    """An ext4 volume whose power can be cut."""

    def __init__(self, folder, number):
        self.image, self.path = f"{folder}/data{number}.img", f"{folder}/data{number}"
        with open(self.image, "wb") as image:
            image.truncate(VOLUME_MIB << 20)
        os.mkdir(self.path)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self.image], check=True)
        self.mount()
        # Kafka takes every folder for a partition.
        os.rmdir(f"{self.path}/lost+found")

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)

    def unmount(self):
        subprocess.run(["umount", self.path], check=True)

    def cut(self):
        root = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
        os.close(root)


class Reader:
    """Takes a response apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def int(self, form):
        value = struct.unpack_from(">" + form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self):
        length = max(self.int("h"), 0)
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def list(self, item):
        return [item() for _ in range(self.int("i"))]


def metadata(port):
    """The brokers and the leader of each partition (Metadata version 1)."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.settimeout(5)
        read = Reader(ask(connection, 3, 1, struct.pack(">i", -1)))
    brokers = read.list(lambda: (read.int("i"), read.text(), read.int("i"), read.text()))
    read.int("i")

    def partition():
        _, _, leader = read.int("h"), read.int("i"), read.int("i")
        read.list(lambda: read.int("i"))
        read.list(lambda: read.int("i"))
        return leader

    topics = read.list(lambda: (read.int("h"), read.text(), read.int("b"), read.list(partition)))
    leaders = [leader for _, name, _, partitions in topics if name.startswith("chaos-") for leader in partitions]
    return [broker[0] for broker in brokers], leaders


def wait_ready(nodes):
    """Until each broker knows of all three, and every partition has a leader."""
    begin = time.time()
    while True:
        with contextlib.suppress(OSError, ConnectionError, struct.error):
            views = [metadata(node.kafka) for node in nodes.values()]
            if all(len(brokers) == len(NODES) and -1 not in leaders for brokers, leaders in views):
                return
        if time.time() - begin > READY_S:
            sys.exit(f"the brokers are not ready after {READY_S} s; their logs are in {nodes[1].log}, …")
        time.sleep(0.2)


def kill(node):
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()


def kill_leader(nodes, mark):
    _, leaders = metadata(nodes[1].kafka)
    busiest = max(NODES, key=leaders.count)
    mark(f"begin kill-leader {busiest}")
    kill(nodes[busiest])
    time.sleep(2 * PAUSE_S)
    nodes[busiest].start()
    wait_ready(nodes)
    mark("end kill-leader")


def cut_power(nodes, volumes, mark):
    mark(f"begin-all power-cut {' '.join(map(str, NODES))}")
    for node in nodes.values():
        node.process.send_signal(signal.SIGSTOP)
    for volume in volumes.values():
        volume.cut()
    for number, node in nodes.items():
        kill(node)
        volumes[number].unmount()
        volumes[number].mount()
        node.start()
    wait_ready(nodes)
    mark("end power-cut")


@contextlib.contextmanager
def running(jars):
    """Three brokers, and their volumes."""
    folder = tempfile.mkdtemp(prefix="kafka-chaos-")
    numbers = free_ports(2 * len(NODES))
    ports = {number: numbers[2 * at : 2 * at + 2] for at, number in enumerate(NODES)}
    volumes, nodes = {}, {}
    try:
        for number in NODES:
            volumes[number] = Volume(folder, number)
            nodes[number] = KafkaNode(jars, folder, number, ports)
        for node in nodes.values():
            node.start()
        wait_ready(nodes)
        yield nodes, volumes
    finally:
        for node in nodes.values():
            if getattr(node, "process", None) and node.process.poll() is None:
                kill(node)
        for volume in volumes.values():
            volume.unmount()
        shutil.rmtree(folder)


def main():
    if not 3 <= len(sys.argv) <= 5 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    kills, cuts = [int(n) for n in sys.argv[3:]] + [5, 3][len(sys.argv) - 3 :]
    os.makedirs("target/chaos", exist_ok=True)
    history, page = "target/chaos/kafka.jsonl", "target/chaos/kafka.html"
    with contextlib.suppress(FileNotFoundError):
        os.remove(history)
    with running(sys.argv[2]) as (nodes, volumes):
        bootstrap = ",".join(f"127.0.0.1:{node.kafka}" for node in nodes.values())
        command = [sys.argv[1], "record", "--bootstrap", bootstrap, "--history", history, "--page", page]
        recorder = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

        def mark(line):
            recorder.stdin.write(line + "\n")
            recorder.stdin.flush()

        time.sleep(4 * PAUSE_S)
        for _ in range(kills):
            kill_leader(nodes, mark)
            time.sleep(PAUSE_S)
        for _ in range(cuts):
            cut_power(nodes, volumes, mark)
            time.sleep(2 * PAUSE_S)
        recorder.stdin.close()
        status = recorder.wait()
    sys.exit(status)


if __name__ == "__main__":
    main()
