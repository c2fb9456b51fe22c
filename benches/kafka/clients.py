"""The clients, the same for every broker: Kafka's own tools, and librdkafka in a small program."""

import json
import re
import subprocess
import sys

# One run of a client may take so long.
PATIENCE_S = 1800
TOOLS = "org.apache.kafka.tools"


class Clients:
    """`jars` is the folder of Kafka's, `native` the program of benches/kafka/native."""

    def __init__(self, jars, native):
        self.jars, self.native = jars, native

    def run(self, command):
        """What it printed on standard output. Whatever looks like a failure ends the run."""
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            sys.exit(f"not within {PATIENCE_S} s: {' '.join(command)}")
        # The tools report lost records on either stream and end with 0 all the same.
        if said.returncode or "Exception" in said.stdout + said.stderr:
            sys.exit(f"{' '.join(command)}\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
        return said.stdout

    def java(self, tool, *arguments):
        return self.run(["java", "-Xmx512m", "-cp", f"{self.jars}/*", f"{TOOLS}.{tool}", *map(str, arguments)])

    def produce(self, bootstrap, topic, records, record_bytes, settings, rate=-1, payload=None, warmup=0):
        """ProducerPerformance: MB/s (10^6 bytes of values) and milliseconds until the acknowledgement, without the
        first `warmup` records. Its times are whole milliseconds."""
        what = ["--payload-file", payload] if payload else ["--record-size", record_bytes]
        said = self.java(
            "ProducerPerformance", "--bootstrap-server", bootstrap, "--topic", topic, "--num-records", records, *what,
            "--throughput", rate, *(["--warmup-records", warmup] if warmup else []),
            "--command-property", *(f"{key}={value}" for key, value in settings.items()),
        )
        return producer_figures(said, record_bytes)

    def consume(self, bootstrap, topic, records, record_bytes):
        """ConsumerPerformance: MB/s (10^6 bytes of values) from the first fetch on, without the joining of its group."""
        said = self.java(
            "ConsumerPerformance", "--bootstrap-server", bootstrap, "--topic", topic, "--num-records", records,
            "--timeout", 60_000,
        )
        return consumer_figure(said, records, record_bytes)

    def one_at_a_time(self, bootstrap, topic, records, record_bytes):
        """EndToEndLatency: milliseconds from a send to its arrival, where the next one waits for that."""
        return latency_figure(self.java("EndToEndLatency", bootstrap, topic, records, "all", record_bytes))

    def load(self, command, bootstrap, topic, settings, **options):
        """The native client: what it found."""
        return json.loads(self.run(self.load_command(command, bootstrap, topic, settings, **options)))

    def load_command(self, command, bootstrap, topic, settings, **options):
        arguments = [self.native, command, "--bootstrap", bootstrap, "--topic", topic]
        for key, value in settings.items():
            arguments += ["--set", f"{key}={value}"]
        for key, value in options.items():
            arguments += [f"--{key.replace('_', '-')}", str(value)]
        return arguments


PRODUCED = re.compile(
    r"(\d+) records sent, ([\d.]+) records/sec \([\d.]+ MB/sec\), ([\d.]+) ms avg latency, ([\d.]+) ms max latency, "
    r"(\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99.9th"
)


def producer_figures(said, record_bytes):
    """From the last summary that ProducerPerformance prints: of the records after the warm-up, if there was one."""
    found = PRODUCED.findall(said)
    if not found:
        sys.exit(f"ProducerPerformance gave no summary:\n{said[-2000:]}")
    _, per_s, average, largest, p50, _, p99, p999 = map(float, found[-1])
    return {"mb_s": per_s * record_bytes / 1e6, "avg": average, "p50": p50, "p99": p99, "p999": p999, "max": largest}


def consumer_figure(said, records, record_bytes):
    """From the two lines that ConsumerPerformance prints: names of columns, and values."""
    lines = [[field.strip() for field in line.split(",")] for line in said.splitlines() if "," in line]
    names = next((at for at, line in enumerate(lines) if "fetch.nMsg.sec" in line), None)
    if names is None or names + 1 >= len(lines):
        sys.exit(f"ConsumerPerformance gave no figures:\n{said[-2000:]}")
    found = dict(zip(lines[names], lines[names + 1]))
    if float(found["data.consumed.in.nMsg"]) < records:
        sys.exit(f"ConsumerPerformance got {found['data.consumed.in.nMsg']} of {records} records")
    return float(found["fetch.nMsg.sec"]) * record_bytes / 1e6


def latency_figure(said):
    found = re.search(r"Avg latency: ([\d.]+) ms", said), re.search(r"50th = (\d+), 99th = (\d+), 99.9th = (\d+)", said)
    if None in found:
        sys.exit(f"EndToEndLatency gave no figures:\n{said[-2000:]}")
    return {"avg": float(found[0][1]), "p50": float(found[1][1]), "p99": float(found[1][2]), "p999": float(found[1][3])}
