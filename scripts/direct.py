"""Writes to many partitions over the Kafka protocol itself: one request per leader for all of its partitions, as the Java
client makes it. (librdkafka has five requests of one partition each under way; with thousands of partitions that is what
one would measure.)"""

import socket
import struct
import threading
import time

from nodes import ask, text

METADATA, PRODUCE = 3, 0
CRC_POLYNOMIAL = 0x82F63B78


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CRC_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def batch(value):
    """A record batch (magic 2) of one record without a key, of no producer."""
    record = b"\0\0\0\x01" + bytes([2 * len(value)]) + value + b"\0"
    record = bytes([2 * len(record)]) + record
    now = int(time.time() * 1000)
    rest = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + record
    body = struct.pack(">ibI", -1, 2, crc32c(rest)) + rest
    return struct.pack(">qi", 0, len(body)) + body


def leaders(port, topic):
    """Per partition its leader, and per broker its port, as the broker at `port` says (Metadata version 1)."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        answer = ask(connection, METADATA, 1, struct.pack(">i", 1) + text(topic))
    at = 0

    def take(form):
        nonlocal at
        found = struct.unpack_from(form, answer, at)
        at += struct.calcsize(form)
        return found[0]

    def take_text():
        nonlocal at
        length = max(take(">h"), 0)
        at += length

    ports, found = {}, {}
    for _ in range(take(">i")):
        node = take(">i")
        take_text()
        ports[node] = take(">i")
        take_text()
    take(">i")
    for _ in range(take(">i")):
        take(">h"), take_text(), take(">b")
        for _ in range(take(">i")):
            take(">h")
            partition, leader = take(">i"), take(">i")
            for _ in range(2):
                count = take(">i")
                at += 4 * count
            found[partition] = leader
    return found, ports


def produce(port, topic, partitions, records, patience_s):
    """The partitions of one leader that acknowledged (acks=all, Produce version 3)."""
    body = struct.pack(">hhii", -1, -1, patience_s * 1000, 1) + text(topic) + struct.pack(">i", len(partitions))
    body += b"".join(struct.pack(">ii", partition, len(records)) + records for partition in partitions)
    with socket.create_connection(("127.0.0.1", port), patience_s) as connection:
        answer = ask(connection, PRODUCE, 3, body)
    at = 4 + 2 + len(topic) + 4
    results = (struct.unpack_from(">ih", answer, at + 22 * number) for number in range(len(partitions)))
    return {partition for partition, error in results if error == 0}


class DirectClient:
    """Knows who leads from before, like any client, and asks when a leader is gone."""

    def __init__(self, port, topic):
        self.topic, self.records = topic, batch(b"x" * 50)
        self.led, self.ports = leaders(port, topic)

    def unled(self, running):
        """The partitions whose leader is none of the brokers that run, given by their ports."""
        return {partition for partition, leader in self.led.items() if self.ports.get(leader) not in running}

    def write(self, partitions, running, patience_s):
        """Writes a record to each of the partitions, wherever it is led, again and again until all have acknowledged;
        whether they have. `running` are the ports of the brokers that do."""
        left, end = set(partitions), time.monotonic() + patience_s
        while left and time.monotonic() < end:
            by_port = {}
            for partition in left:
                by_port.setdefault(self.ports.get(self.led.get(partition)), []).append(partition)
            reachable = {port: partitions for port, partitions in by_port.items() if port in running}
            acknowledged = []

            def write(port, partitions):
                acknowledged.append(produce(port, self.topic, partitions, self.records, patience_s))

            threads = [threading.Thread(target=write, args=one) for one in reachable.items()]
            for thread in threads:
                thread.start()
            if len(reachable) < len(by_port):
                self.led, self.ports = leaders(running[0], self.topic)
            for thread in threads:
                thread.join()
            left.difference_update(*acknowledged)
            if left and len(reachable) == len(by_port):
                self.led, self.ports = leaders(running[0], self.topic)
        return not left
