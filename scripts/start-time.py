#!/usr/bin/env python3
"""Time from exec of `jackdaw serve` to a successful answer.

    scripts/start-time.py target/release/jackdaw [RUNS]
    scripts/start-time.py target/release/jackdaw RUNS GB [cold]

Without GB: on an empty folder, to a successful ApiVersions and Metadata; and the idle process's resident
memory. Exit code 1 beyond 100 ms (median) or 30 MB.

With GB: writes so much into 100 partitions of one node, kills it (SIGKILL) while more is written, and starts
it again, RUNS times, each time killed while something is written. To the last acknowledged record of every
partition being fetched, and then to an acknowledged record in every partition. `cold`: with nothing in the
page cache (needs root). Exit code 1 beyond 1 s (median).

Needs nothing but Python 3. Runs on free ports in temporary folders (TMPDIR says where).
"""

import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from nodes import NodeProcess, ask, create_topics, free_ports
from records import batch, fetch, produce

MS_MAX, MB_MAX, FULL_MS_MAX, PATIENCE_S = 100, 30, 1_000, 60
TOPIC, PARTITIONS = "full", 100
# What clients make of small records: 16 KiB, in requests of some 1.6 MB.
RECORDS, VALUE_BYTES, WRITERS = 16, 1_000, 4
# Written before each further kill.
AGAIN_BYTES = 500_000_000


class Node(NodeProcess):
    def __init__(self, binary, folder, ports):
        self.kafka, self.log = ports[0], f"{folder}/log"
        command = [binary, "serve", "--set", f"data_dir={folder}/data"]
        for key, port in zip(["kafka", "peer", "admin"], ports):
            command += ["--set", f"listeners.{key}=127.0.0.1:{port}"]
        with open(self.log, "wb") as log:
            self.begun = time.perf_counter()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def connect(self, timeout_s=PATIENCE_S):
        return socket.create_connection(("127.0.0.1", self.kafka), timeout=timeout_s)

    def ms_until(self, attempt):
        """From exec until `attempt` is true; it may fail as long as the node is not up."""
        while True:
            try:
                if attempt(self):
                    return self.ms_since_start()
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - self.begun > PATIENCE_S:
                sys.exit("the node does not answer:\n" + open(self.log).read())
            time.sleep(0.0005)

    def read_mb(self):
        """By system calls, and from the disk."""
        lines = (line.split() for line in open(f"/proc/{self.process.pid}/io"))
        found = {key: int(value) / 1e6 for key, value in lines}
        return found["rchar:"], found["read_bytes:"]

    def end(self, with_signal=signal.SIGTERM):
        self.process.send_signal(with_signal)
        self.process.wait()


def answers(node):
    """Whether ApiVersions succeeds and Metadata lists this one broker."""
    with node.connect() as connection:
        if struct.unpack(">h", ask(connection, 18, 0, b"")[:2])[0] != 0:
            return False
        # Metadata version 1 without topics; the response begins with the array of brokers.
        return struct.unpack(">i", ask(connection, 3, 1, struct.pack(">i", 0))[:4])[0] == 1


class Load:
    """Writers that note what was acknowledged, until the node is gone."""

    def __init__(self, node, last):
        self.node, self.last, self.bytes, self.lock = node, last, 0, threading.Lock()
        self.records = batch(RECORDS, VALUE_BYTES)
        self.threads = [threading.Thread(target=self.write) for _ in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def write(self):
        try:
            with self.node.connect() as connection:
                while True:
                    answered = produce(connection, TOPIC, list(self.last), self.records)
                    with self.lock:
                        for partition, (error, base) in answered.items():
                            if error:
                                sys.exit(f"Produce: error {error}")
                            self.last[partition] = max(self.last[partition], base + RECORDS - 1)
                        self.bytes += len(answered) * len(self.records)
        except OSError:
            # It was killed.
            return

    def kill_after(self, size):
        while self.bytes < size and self.threads[0].is_alive():
            time.sleep(0.01)
        is_up = self.node.process.poll() is None
        self.node.end(signal.SIGKILL)
        for thread in self.threads:
            thread.join()
        if not is_up or self.bytes < size:
            sys.exit("the node did not take the records:\n" + open(self.node.log).read())


def drop_page_cache():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def run_empty(binary, is_last):
    with tempfile.TemporaryDirectory() as folder:
        node = Node(binary, folder, free_ports(3))
        try:
            took_ms = node.ms_until(answers)
            if is_last:
                # Idle is a state that only time shows.
                time.sleep(5)
            return took_ms, node.resident_mb()
        finally:
            node.end()


def empty(binary, runs):
    found = [run_empty(binary, number == runs - 1) for number in range(runs)]
    memory = found[-1][1]
    median = show("ready", [ms for ms, _ in found])
    print(f"resident memory, idle for 5 s: {memory:.1f} MB")
    return median <= MS_MAX and memory <= MB_MAX


def full(binary, runs, size, is_cold):
    last = dict.fromkeys(range(PARTITIONS), -1)
    fetched, written = [], []

    def has_all(node):
        with node.connect() as connection:
            return all(not error and size for error, size in fetch(connection, TOPIC, last).values())

    def takes_all(node):
        with node.connect() as connection:
            answered = produce(connection, TOPIC, list(last), batch(1, 1))
            return not any(error for error, _ in answered.values())

    with tempfile.TemporaryDirectory() as folder:
        node = Node(binary, folder, free_ports(3))
        try:
            node.ms_until(answers)
            with node.connect() as connection:
                create_topics(connection, {TOPIC: PARTITIONS}, 1, PATIENCE_S)
            node.ms_until(takes_all)
            for number in range(runs):
                Load(node, last).kill_after(AGAIN_BYTES if number else size)
                if is_cold:
                    drop_page_cache()
                node = Node(binary, folder, free_ports(3))
                fetched.append(node.ms_until(has_all))
                written.append(node.ms_until(takes_all))
                by_calls, from_disk = node.read_mb()
                print(f"{fetched[-1]:.0f} ms, {written[-1]:.0f} ms; read {by_calls:.0f} MB, {from_disk:.0f} MB from the disk")
        finally:
            node.end()
    show("every partition's last record is there", fetched)
    return show("every partition takes records", written) <= FULL_MS_MAX


def show(what, times):
    median = statistics.median(times)
    print(f"{what} after {median:.1f} ms (median of {len(times)}; {min(times):.1f} to {max(times):.1f})")
    return median


def main():
    binary, runs = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 11
    if len(sys.argv) > 3:
        is_within = full(binary, runs, float(sys.argv[3]) * 1e9, sys.argv[4:] == ["cold"])
    else:
        is_within = empty(binary, runs)
    sys.exit(0 if is_within else 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
