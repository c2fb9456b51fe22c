#!/usr/bin/env python3
"""Jackdaw beside Apache Kafka: on the same machine, in the same run, with the same clients.

    make bench-kafka [SCENARIO=a,c-10k] [ROUNDS=3]                 # builds and fetches what it needs, then this:
    benches/kafka/bench.py [--scenario a,c-10k] [--rounds 3] [--quick] [--scale X] [--json FILE] [--svg FILE] [--write DOCUMENT]
    benches/kafka/bench.py --list | --self-test

Three brokers with three replicas, or one where a scenario says so; of one mode at a time, each run with brokers and data of
its own, on the same file system. The modes: `jackdaw` with its defaults (an acknowledgement means that a majority has
synced), `kafka` with its defaults (no sync) and the heap of its start script (1 GB), `kafka-fsync` that syncs after every
message (log.flush.interval.messages=1) and gets a fifth of the records. The clients: Kafka's ProducerPerformance,
ConsumerPerformance and EndToEndLatency, and librdkafka. Modes take turns, in the opposite order every second round.
Exit code 1 if a run failed; its logs stay, and it says where. Missed bars are in the table and no failure.
"""

import argparse
import datetime
import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(f"{HERE}/../..")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="", metavar="NAME,…", help="names, or beginnings of names; default all")
    parser.add_argument("--mode", default="", metavar="NAME,…", help="only these of jackdaw, kafka, kafka-fsync")
    parser.add_argument("--rounds", type=int, default=3, help="runs of every scenario in every mode (3)")
    parser.add_argument("--scale", type=float, default=1, metavar="X", help="of all sizes: 2 writes twice as much")
    parser.add_argument("--quick", dest="scale", action="store_const", const=0.02,
                        help="tiny sizes: shows that everything runs, and nothing else")
    parser.add_argument("--json", metavar="FILE", help="writes facts, runs and rows, after every run")
    parser.add_argument("--from", dest="earlier", action="append", default=[], metavar="FILE",
                        help="runs of an earlier --json that count too; with --rounds 0 only those")
    parser.add_argument("--svg", metavar="FILE", help="writes a plot of the ratios")
    parser.add_argument("--write", metavar="DOCUMENT", help="replaces the marked section of a document")
    parser.add_argument("--catch-up-gb", type=float, default=4, metavar="GB", help="what e-catch-up consumes (4)")
    parser.add_argument("--folder", default=f"{ROOT}/target/bench-kafka", help="where the brokers' data goes")
    parser.add_argument("--jackdaw", default=f"{ROOT}/target/release/jackdaw", metavar="BINARY")
    parser.add_argument("--kafka", default=f"{ROOT}/target/kafka/libs", metavar="JARS")
    parser.add_argument("--native", default=f"{ROOT}/target/release/jackdaw-native-client", metavar="BINARY")
    parser.add_argument("--list", action="store_true", help="the scenarios")
    parser.add_argument("--self-test", action="store_true", help="tests what makes tables and plots of runs")
    return parser.parse_args()


def first_line(command):
    try:
        said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return (said.stdout + said.stderr).splitlines()[0] if said.returncode == 0 else ""


def found_in(path, pattern):
    with open(path) as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def facts(args):
    """What a reader has to know about the figures: (name, text)."""
    memory_gib = int(found_in("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / 2**20
    file_system = first_line(["findmnt", "-n", "-o", "FSTYPE", "-T", args.folder]) or "an unknown file system"
    kafka = [os.path.basename(path) for path in glob.glob(f"{args.kafka}/kafka-clients-*.jar")]
    commit = first_line(["git", "rev-parse", "--short=12", "HEAD"])
    librdkafka = json.loads(first_line([args.native, "version"]) or "{}").get("librdkafka", "unknown")
    command = " ".join(os.path.relpath(a, ROOT) if a.startswith(ROOT) else a for a in sys.argv)
    return [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("machine", f"{os.cpu_count()} cores ({found_in('/proc/cpuinfo', r'^model name.*: (.*)')}), {memory_gib:.0f} GiB, "
                    f"Linux {platform.release()}, data on {file_system}"),
        ("versions", f"{first_line([args.jackdaw, '--version']) or 'jackdaw'} (tree {commit or 'unknown'}), "
                     f"Apache Kafka {', '.join(kafka).removeprefix('kafka-clients-').removesuffix('.jar')}, "
                     f"librdkafka {librdkafka}, {first_line(['java', '-version'])}"),
        ("command", f"`{command}`"),
    ]


class Progress:
    """A line per run; on a terminal a bar below it while the next one is under way."""

    WIDTH = 30

    def __init__(self, total):
        self.total, self.done, self.begun, self.has_bar = total, 0, time.monotonic(), sys.stderr.isatty()

    def say(self, line):
        print(("\r\x1b[K" if self.has_bar else "") + line, file=sys.stderr, flush=True)

    def begin(self, what):
        if self.has_bar:
            full = self.WIDTH * self.done // self.total
            minutes = (time.monotonic() - self.begun) / 60
            bar = "█" * full + "░" * (self.WIDTH - full)
            print(f"\r\x1b[K{bar} {self.done}/{self.total}  {minutes:.0f} min  {what} …", end="", file=sys.stderr, flush=True)

    def end(self, what, took_s, said):
        self.done += 1
        self.say(f"{self.done}/{self.total}  {what}  {took_s:.0f} s  {said}")


def plan(scenarios, modes, rounds):
    """(scenario, mode, round): modes take turns, in the opposite order every second round."""
    for scenario, of_it in scenarios:
        for number in range(rounds):
            order = [mode for mode in of_it if not modes or mode in modes]
            for mode in order if number % 2 == 0 else order[::-1]:
                yield scenario, mode, number + 1


def one(scenario, setup, mode):
    """Its figures, or (None, why): whatever goes wrong in a run ends that run only."""
    try:
        return scenario.run(setup, mode), ""
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:  # what the helpers say when they give up
        return None, f"{type(error).__name__}: {error}"


def headline(metrics, names):
    shown = [(name, value) for name, value in metrics.items() if names[name].more_is_better is not None][:3]
    return ", ".join(f"{names[name].label} {value:.4g} {names[name].unit}" for name, value in shown)


class Record:
    """All runs, and the files that they end up in."""

    def __init__(self, args, titles):
        self.args, self.titles, self.runs, self.failed = args, titles, [], []
        known = []
        for path in args.earlier:
            with open(path) as file:
                earlier = json.load(file)
            self.runs += earlier["runs"]
            known.append(earlier["facts"])
        self.facts = report.merged_facts(known + ([dict(facts(args))] if args.rounds else []))

    def rows(self):
        order = list(self.titles)
        return report.rows(sorted(self.runs, key=lambda run: order.index(run["scenario"])))

    def write_json(self):
        if self.args.json:
            table = [
                {"scenario": row.scenario, "metric": row.metric, "unit": report.METRICS[row.metric].unit,
                 "spreads": {mode: vars(spread) for mode, spread in row.spreads.items()},
                 "ratios": {name: vars(ratio) for name, ratio in row.ratios.items()}}
                for row in self.rows()
            ]
            with open(f"{self.args.json}.new", "w") as file:
                json.dump({"facts": dict(self.facts), "failed": self.failed, "runs": self.runs, "rows": table}, file, indent=1)
            os.replace(f"{self.args.json}.new", self.args.json)

    def write(self):
        args, table = self.args, self.rows()
        self.write_json()
        picture = args.svg or (args.write and f"{os.path.splitext(args.write)[0]}-kafka.svg")
        if picture and table:
            with open(picture, "w") as file:
                file.write(plot.svg(table))
        if args.write and table:
            with open(args.write) as file:
                document = file.read()
            seen = os.path.relpath(picture, os.path.dirname(os.path.abspath(args.write)))
            document = report.replace_section(document, report.section(table, self.titles, self.facts, seen))
            with open(args.write, "w") as file:
                file.write(document)


def measure(args, scenarios, record):
    made_of = {"jackdaw": args.jackdaw, "kafka": args.kafka, "kafka-fsync": args.kafka}
    for path, how in [(args.jackdaw, "make build"), (args.kafka, "make bench-kafka"), (args.native, "make bench-kafka")]:
        if not os.path.exists(path):
            sys.exit(f"{path} is not there; `{how}` makes it")
    if subprocess.run([f"{ROOT}/scripts/need.sh", "java-17", "confluent-kafka"]).returncode:
        sys.exit(1)
    setup = Setup(made_of, Clients(args.kafka, args.native), args.folder, args.scale, int(args.catch_up_gb * 1e9))
    planned = list(plan(scenarios, args.mode.split(",") if args.mode else [], args.rounds))
    progress = Progress(len(planned))
    for scenario, mode, number in planned:
        what = f"{scenario.name} {mode}, round {number}"
        progress.begin(what)
        begun = time.monotonic()
        metrics, why = one(scenario, setup, mode)
        if metrics is None:
            record.failed.append(f"{what}: {why}")
        else:
            record.runs.append({"scenario": scenario.name, "mode": mode, "round": number, "metrics": metrics})
        progress.end(what, time.monotonic() - begun, headline(metrics, report.METRICS) if metrics else f"FAILED: {why}")
        record.write_json()


def main():
    args = parsed()
    if args.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:12}{scenario.title} ({', '.join(scenario.modes)})")
        return
    try:
        scenarios = chosen([name for name in args.scenario.split(",") if name])
    except ValueError as error:
        sys.exit(str(error))
    args.folder = os.path.abspath(args.folder)
    os.makedirs(args.folder, exist_ok=True)
    record = Record(args, {scenario.name: scenario.title for scenario in SCENARIOS})
    if args.rounds:
        # Runs take away what they wrote, but for the logs of those that failed.
        args.folder = tempfile.mkdtemp(dir=args.folder)
        measure(args, scenarios, record)
        if not record.failed:
            shutil.rmtree(args.folder)
    record.write()
    for name, text in record.facts:
        print(f"{name}: {text}")
    table = record.rows()
    print("\n" + report.text_table(table, record.titles) + "\n\n" + report.verdict(table))
    if record.failed:
        print("\nfailed:\n" + "\n".join(record.failed), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    if "--self-test" in sys.argv:
        # Without the modules that want clients.
        sys.exit(subprocess.run([sys.executable, f"{HERE}/test_report.py"]).returncode)
    import plot
    import report
    from clients import Clients
    from scenarios import SCENARIOS, Setup, chosen

    main()
