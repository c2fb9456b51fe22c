"""What is measured: one function per kind of scenario, and the table of scenarios made of them."""

import dataclasses
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from typing import Callable

from cluster import MODES, Usage, memory_mb, settle
from nodes import ask
from steady import PATIENCE_S, BrokerWatch, producer, running, wait

TOPIC, PARTITIONS, KIB = "bench", 12, 1024
ALL, DEFAULTS = ("jackdaw", "kafka", "kafka-fsync"), ("jackdaw", "kafka")
DURABLE = {"acks": "all", "enable.idempotence": "true"}
# Kafka with syncs gets so small a part of the records: it would take an hour otherwise.
FSYNC = 5
# Idle is a state that only time shows.
IDLE_S = 5
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts")


@dataclasses.dataclass
class Setup:
    """What all runs share."""

    # Per mode what its nodes are made of: a binary, or a folder of jars.
    made_of: dict
    clients: object
    # Where the data of all modes goes.
    folder: str
    # Of all sizes and times.
    scale: float
    catch_up_bytes: int

    def seconds(self, full):
        return max(3, round(full * self.scale))


class Run:
    """One scenario in one mode: its brokers run, and nobody else's."""

    def __init__(self, setup, mode, nodes):
        self.setup, self.mode, self.nodes, self.clients = setup, mode, nodes, setup.clients
        self.watch = BrokerWatch(nodes)
        self.bootstrap = self.watch.bootstrap

    def sized(self, records, least=1000):
        """As many records as this mode gets."""
        return max(least, int(records * self.setup.scale / (FSYNC if self.mode == "kafka-fsync" else 1)))

    def usage(self):
        settle()
        return Usage(self.nodes)

    def create(self, partitions=PARTITIONS, topic=TOPIC, is_written_to=True):
        self.watch.create(topic, partitions)
        wait("leaders spread evenly", lambda: self.watch.is_even(topic))
        if is_written_to:
            self.write_everywhere(topic, partitions)

    def write_everywhere(self, topic, partitions):
        """One record to each partition: Kafka's Metadata names leaders that do not know of it yet. They refuse a new producer's
        first batch, may take its second, and then refuse the first for ever (OutOfOrderSequenceException)."""
        client, failed = producer(self.bootstrap), []
        for partition in range(partitions):
            client.produce(topic, b"x", partition=partition, on_delivery=lambda error, _: error and failed.append(error))
        left = client.flush(PATIENCE_S)
        if failed or left:
            sys.exit(f"{left} of {partitions} partitions took no record; {failed[:1]}")

    def warm_up(self, record_bytes, settings=DURABLE, payload=None):
        """The JVMs of the brokers compile what they will need. Returns the number of records."""
        records = self.sized(200_000)
        self.clients.produce(self.bootstrap, TOPIC, records, record_bytes, settings, payload=payload)
        return records

    def java_produce(self, records, record_bytes, settings=DURABLE, payload=None):
        """MB/s, times, and what it cost."""
        with self.usage() as used:
            found = self.clients.produce(
                self.bootstrap, TOPIC, records, record_bytes, settings, payload=payload, warmup=records // 5
            )
        return {"produce_mb_s": found["mb_s"], **used.per_gb("produce", records * record_bytes),
                "loaded_mb": used.memory["VmRSS"]}

    def native_produce(self, records, record_bytes, settings=DURABLE):
        with self.usage() as used:
            found = self.clients.load(
                "produce", self.bootstrap, TOPIC, settings, records=records, size=record_bytes
            )
        return {"native_produce_mb_s": found["mb_s"], **used.per_gb("native_produce", records * record_bytes)}

    def native_consume(self, records, record_bytes, topic=TOPIC):
        with self.usage() as used:
            found = self.clients.load("consume", self.bootstrap, topic, {}, records=records)
        return {"native_consume_mb_s": found["mb_s"], **used.per_gb("consume", records * record_bytes)}


def throughput(run, record_bytes, records, partitions=PARTITIONS):
    run.create(partitions)
    records = run.sized(records)
    written = run.warm_up(record_bytes) + 2 * records
    return {
        **run.java_produce(records, record_bytes),
        **run.native_produce(records, record_bytes),
        **run.native_consume(written, record_bytes),
    }


def one_broker(run, acks):
    run.create()
    settings = {"acks": acks, "enable.idempotence": str(acks == "all").lower()}
    run.warm_up(KIB, settings)
    records = run.sized(600_000)
    return {**run.java_produce(records, KIB, settings), **run.native_produce(records, KIB, settings)}


def compressed(run, codec):
    run.create()
    payload = f"{run.setup.folder}/values"
    write_values(payload)
    settings = {**DURABLE, "compression.type": codec}
    run.warm_up(KIB, settings, payload)
    return run.java_produce(run.sized(600_000), KIB, settings, payload)


def write_values(path, count=1000):
    """A file with a value of 1 KiB a line, which compresses about as well as people's JSON does."""
    chosen = random.Random(1)
    words = ["".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(3, 10))) for _ in range(500)]
    with open(path, "w") as file:
        for _ in range(count):
            line = ""
            while len(line) < KIB:
                line += f'{{"{chosen.choice(words)}": "{chosen.choice(words)}", "{chosen.choice(words)}": {chosen.random()}}}, '
            file.write(line[:KIB] + "\n")


def latency(run, rate):
    """Without a linger, which would be most of what is measured."""
    run.create()
    run.warm_up(KIB)
    settings, seconds = {**DURABLE, "linger.ms": 0}, run.setup.seconds(15)
    with run.usage() as used:
        found = run.clients.load(
            "e2e", run.bootstrap, TOPIC, settings, rate=rate, seconds=seconds, size=KIB, warmup_seconds=seconds // 3
        )
    java = run.clients.produce(run.bootstrap, TOPIC, rate * seconds, KIB, settings, rate=rate, warmup=rate * seconds // 3)
    alone = run.clients.one_at_a_time(run.bootstrap, TOPIC, run.sized(2000, 200), KIB)
    return {
        **{f"{what}_{at}_ms": found[f"{what}_ms"][at] for what in ("produce", "e2e") for at in ("p50", "p99", "p999")},
        **{f"java_produce_{at}_ms": java[at] for at in ("avg", "p99", "p999")},
        **{f"alone_{at}_ms": alone[at] for at in ("avg", "p99")},
        "latency_broker_cores": used.broker_cpu_s / used.wall_s,
        "latency_client_cores": used.client_cpu_s / used.wall_s,
    }


def catch_up(run):
    run.create()
    records = max(1000, int(run.setup.catch_up_bytes * run.setup.scale / KIB))
    fill = {"acks": 1}
    run.clients.load("produce", run.bootstrap, TOPIC, fill, records=records, size=KIB)
    # The brokers' JVMs compile how they answer.
    run.clients.load("consume", run.bootstrap, TOPIC, {}, records=records // 4)
    found = run.native_consume(records, KIB)
    with run.usage() as used:
        java = run.clients.consume(run.bootstrap, TOPIC, records, KIB)
    return {**found, "java_consume_mb_s": java, **used.per_gb("java_consume", records * KIB)}


def tail(run, groups=5):
    """One producer, and members of as many groups that read what it writes while it does."""
    run.create(is_written_to=False)
    # The first group waits for the broker's own topic of offsets, and is no part of what is measured.
    run.create(1, "first")
    run.clients.load("produce", run.bootstrap, "first", DURABLE, records=run.sized(100_000), size=KIB)
    records = run.sized(1_000_000)
    consumers = [
        subprocess.Popen(
            run.clients.load_command("consume", run.bootstrap, TOPIC, {}, records=records, group=f"tail-{number}"),
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(groups)
    ]
    try:
        for consumer in consumers:
            if consumer.stdout.readline() != "assigned\n":
                sys.exit("a consumer got no partitions")
        with run.usage() as used:
            run.clients.load("produce", run.bootstrap, TOPIC, DURABLE, records=records, size=KIB)
            for consumer in consumers:
                consumer.stdout.read()
                if consumer.wait():
                    sys.exit("a consumer of the tail failed")
    finally:
        for consumer in consumers:
            consumer.kill()
            consumer.wait()
    size = groups * records * KIB
    return {"tail_mb_s": size / 1e6 / used.wall_s, **used.per_gb("tail", size)}


def small_producers(run, connections=200):
    """Each has one record under way, in a request of its own: first librdkafka, then bare sockets, which cost a tenth of it
    and leave the machine to the brokers."""
    run.create()
    settings, size = {**DURABLE, "linger.ms": 0}, 100
    options = {"size": size, "producers": connections, "in_flight": 1}
    run.clients.load("produce", run.bootstrap, TOPIC, settings, records=run.sized(20_000), **options)
    with run.usage() as used:
        found = run.clients.load("produce", run.bootstrap, TOPIC, settings, records=run.sized(100_000), **options)
    with run.usage() as bare:
        plain = run.clients.load(
            "requests", run.bootstrap, TOPIC, {}, records=run.sized(200_000), size=size, connections=connections
        )
    return {**request_figures("request", found, used), **request_figures("bare_request", plain, bare)}


def request_figures(what, found, used):
    return {
        f"{what}s_s": found["records_s"],
        **{f"{what}_{at}_ms": found["latency_ms"][at] for at in ("p50", "p99")},
        f"{what}_cpu_us": used.broker_cpu_s * 1e6 / found["records"],
        f"{what}_client_cpu_us": used.client_cpu_s * 1e6 / found["records"],
        f"{what}_broker_cores": used.broker_cpu_s / used.wall_s,
        f"{what}_client_cores": used.client_cpu_s / used.wall_s,
    }


def brokers_known(node):
    """How many brokers a node names in Metadata (version 1, of no topic); 0 as long as it does not answer."""
    try:
        with socket.create_connection(("127.0.0.1", node.kafka), timeout=5) as connection:
            return struct.unpack(">i", ask(connection, 3, 1, struct.pack(">i", 0))[:4])[0]
    except (OSError, struct.error):
        return 0


def start(setup, mode, count):
    """From the start of the first process until each names all brokers. Kafka's formatting of its folders is not counted."""
    with running(MODES[mode], setup.made_of[mode], count, setup.folder) as nodes:
        for node in nodes.values():
            while brokers_known(node) < count:
                if node.process.poll() is not None or node.ms_since_start() > PATIENCE_S * 1000:
                    sys.exit("a broker does not answer")
                time.sleep(0.001)
        return {"ready_ms": max(node.ms_since_start() for node in nodes.values())}


def memory(run):
    run.create()
    time.sleep(IDLE_S)
    idle = memory_mb(run.nodes)
    records = run.sized(1_000_000)
    with run.usage() as used:
        run.clients.produce(run.bootstrap, TOPIC, records, KIB, DURABLE)
        run.clients.load("consume", run.bootstrap, TOPIC, {}, records=records)
    return {
        "idle_mb": idle["VmRSS"], "idle_largest_mb": idle["largest"], "idle_anon_mb": idle["RssAnon"],
        "loaded_mb": used.memory["VmRSS"], "loaded_largest_mb": used.memory["largest"],
        "loaded_anon_mb": used.memory["RssAnon"], "loaded_file_mb": used.memory["RssFile"],
    }


def failover(setup, mode):
    """scripts/failover-time.py, which starts brokers of its own."""
    rounds = max(1, round(3 * setup.scale))
    script = [sys.executable, f"{SCRIPTS}/failover-time.py", setup.made_of[mode], str(rounds)]
    said = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "TMPDIR": setup.folder})
    found = re.search(r"median (\d+), .*largest (\d+)", said.stdout)
    # Beyond its own bars it ends with 1, and has measured all the same.
    if not found:
        sys.exit(f"{' '.join(script)}\n{said.stdout}{said.stderr}")
    return {"gap_ms": float(found[1]), "gap_max_ms": float(found[2])}


@dataclasses.dataclass
class Scenario:
    """`measure` gets a Run with `nodes` brokers; of a scenario that starts its own (`nodes` 0) the setup and the mode."""

    name: str
    title: str
    measure: Callable
    modes: tuple = ALL
    nodes: int = 3

    def run(self, setup, mode):
        settle()
        if not self.nodes:
            return self.measure(setup, mode)
        with running(MODES[mode], setup.made_of[mode], self.nodes, setup.folder) as nodes:
            return self.measure(Run(setup, mode, nodes))


SCENARIOS = [
    Scenario("a-1k", "throughput, records of 1 KiB", lambda run: throughput(run, KIB, 600_000)),
    Scenario("a-100", "throughput, records of 100 B", lambda run: throughput(run, 100, 3_000_000)),
    Scenario("c-1k", "1,000 records/s of 1 KiB, linger.ms=0", lambda run: latency(run, 1_000)),
    Scenario("c-10k", "10,000 records/s of 1 KiB, linger.ms=0", lambda run: latency(run, 10_000)),
    Scenario("d-1", "one broker, acks=1, 1 KiB", lambda run: one_broker(run, "1"), nodes=1),
    Scenario("d-all", "one broker, acks=all, 1 KiB", lambda run: one_broker(run, "all"), nodes=1),
    Scenario("e-catch-up", "one broker, consuming from the page cache", catch_up, DEFAULTS, 1),
    Scenario("e-tail", "one broker, 1 producer and 5 groups at the tail", tail, DEFAULTS, 1),
    Scenario("f", "1,000 partitions, 1 KiB", lambda run: throughput(run, KIB, 400_000, 1000)),
    Scenario("g", "200 producers of 100 B, one record a request", small_producers),
    Scenario("h-1", "start of one broker", lambda setup, mode: start(setup, mode, 1), DEFAULTS, 0),
    Scenario("h-3", "start of three brokers", lambda setup, mode: start(setup, mode, 3), DEFAULTS, 0),
    Scenario("i", "resident memory of three brokers", memory, DEFAULTS),
    Scenario("j", "a leader is killed: no acknowledgement for", failover, DEFAULTS, 0),
    Scenario("l-lz4", "1 KiB of JSON, lz4", lambda run: compressed(run, "lz4")),
    Scenario("l-zstd", "1 KiB of JSON, zstd", lambda run: compressed(run, "zstd")),
]
# Names for parts of others: (b) is (a) against Kafka with syncs; (k) is processor time, which all of them show.
ALIASES = {
    "b-1k": ("a-1k", ("jackdaw", "kafka-fsync")),
    "b-100": ("a-100", ("jackdaw", "kafka-fsync")),
    "k-produce": ("a-1k", DEFAULTS),
    "k-consume": ("e-catch-up", DEFAULTS),
}


def chosen(names):
    """The scenarios with these names or beginnings of names (`a`: a-1k and a-100), with their modes; all without names."""
    found = {}
    for name in names or [scenario.name for scenario in SCENARIOS]:
        matching = {s.name: (s, s.modes) for s in SCENARIOS if s.name == name or s.name.startswith(f"{name}-")}
        for alias, (of, modes) in ALIASES.items():
            if alias == name or alias.startswith(f"{name}-"):
                matching[of] = next(s for s in SCENARIOS if s.name == of), modes
        if not matching:
            raise ValueError(f"no scenario {name}; there are {', '.join([s.name for s in SCENARIOS] + list(ALIASES))}")
        for key, (scenario, modes) in matching.items():
            before = found.get(key, (scenario, ()))[1]
            found[key] = scenario, tuple(mode for mode in ALL if mode in modes or mode in before)
    return list(found.values())
