#!/usr/bin/env python3
"""Time from exec of `jackdaw serve` on an empty folder to a successful ApiVersions and Metadata, and
the idle process's resident memory.

    scripts/start-time.py target/release/jackdaw [RUNS]

Needs nothing but Python 3. Runs on free ports in temporary folders. Exit code 1 beyond 100 ms (median)
or 30 MB.
"""

import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from nodes import ask, free_ports

MS_MAX, MB_MAX, PATIENCE_S = 100, 30, 10


def answers(port):
    """Whether ApiVersions succeeds and Metadata lists this one broker."""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        if struct.unpack(">h", ask(connection, 18, 0, b"")[:2])[0] != 0:
            return False
        # Metadata version 1 without topics; the response begins with the array of brokers.
        return struct.unpack(">i", ask(connection, 3, 1, struct.pack(">i", 0))[:4])[0] == 1


def resident_mb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def run(binary, is_last):
    with tempfile.TemporaryDirectory() as folder:
        kafka, peer, admin = free_ports(3)
        command = [binary, "serve", "--set", f"data_dir={folder}/data"]
        for key, port in [("kafka", kafka), ("peer", peer), ("admin", admin)]:
            command += ["--set", f"listeners.{key}=127.0.0.1:{port}"]
        with open(f"{folder}/log", "wb") as log:
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                while True:
                    try:
                        if answers(kafka):
                            break
                    except OSError:
                        pass
                    if process.poll() is not None or time.perf_counter() - begun > PATIENCE_S:
                        sys.exit("the node does not answer:\n" + open(f"{folder}/log").read())
                    time.sleep(0.0005)
                took_ms = (time.perf_counter() - begun) * 1000
                if is_last:
                    # Idle is a state that only time shows.
                    time.sleep(5)
                return took_ms, resident_mb(process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


def main():
    binary, runs = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 11
    found = [run(binary, number == runs - 1) for number in range(runs)]
    times = [ms for ms, _ in found]
    memory = found[-1][1]
    median = statistics.median(times)
    print(f"ready after {median:.1f} ms (median of {runs}; {min(times):.1f} to {max(times):.1f})")
    print(f"resident memory, idle for 5 s: {memory:.1f} MB")
    sys.exit(0 if median <= MS_MAX and memory <= MB_MAX else 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
