"""What the scripts that start nodes of their own share."""

import os
import socket
import struct
import sys
import time


class NodeProcess:
    """What the system knows about a node that runs as `self.process`, since `self.begun` (time.perf_counter)."""

    def memory_mb(self):
        """Resident memory: all of it, what is the process's own (anonymous), and what is mapped from files."""
        found = {}
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                key, value = line.split(":", 1)
                if key in ("VmRSS", "RssAnon", "RssFile"):
                    found[key] = int(value.split()[0]) / 1024
        return found

    def resident_mb(self):
        return self.memory_mb()["VmRSS"]

    def cpu_s(self):
        """Processor seconds so far, user and system."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ms_since_start(self):
        return (time.perf_counter() - self.begun) * 1000


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def ask(connection, api_key, version, body):
    """Sends one request with a version 1 header and returns the response after its correlation id."""
    payload = struct.pack(">hhih", api_key, version, 1, -1) + body
    connection.sendall(struct.pack(">i", len(payload)) + payload)
    answer = b""
    while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed")
        answer += more
    return answer[8:]


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def create_topics(connection, partitions, replicas, patience_s):
    """Asks for the topics ({name: partitions}) with CreateTopics version 2 and checks every result."""
    body = struct.pack(">i", len(partitions))
    for name, count in partitions.items():
        body += text(name) + struct.pack(">ihii", count, replicas, 0, 0)
    body += struct.pack(">ib", patience_s * 1000, 0)
    answer = ask(connection, 19, 2, body)
    count, at = struct.unpack(">i", answer[:4])[0], 4
    for _ in range(count):
        at += 2 + struct.unpack(">h", answer[at : at + 2])[0]
        error, length = struct.unpack(">hh", answer[at : at + 4])
        at += 4 + max(length, 0)
        if error:
            sys.exit(f"CreateTopics: error {error}")
