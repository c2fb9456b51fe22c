"""Splits the source, consumes as a group member, and compares: see real_input.sh.

A member appends one line per record to its file: partition, offset, SHA-256 of key, 0x1f and value.
It commits when partitions are taken from it and when it ends, and nowhere else.
"""

import argparse
import hashlib
import signal
import sys
import time

KEY_END, RECORD_END = b"\x1f", b"\x1e"
DEADLINE_S = 180


def fail(why):
    sys.exit(f"real_input: {why}")


def digest(key, value):
    return hashlib.sha256(key + KEY_END + value).hexdigest()


def split(arguments):
    """One record per paragraph, keyed by the package's name; prints the count."""
    data = open(arguments.source, "rb").read()
    if KEY_END in data or RECORD_END in data:
        fail("the source holds a delimiter byte")
    count = 0
    with open(arguments.records, "wb") as out:
        for paragraph in data.split(b"\n\n"):
            if not paragraph.strip():
                continue
            names = [line for line in paragraph.split(b"\n") if line.startswith(b"Package: ")]
            if len(names) != 1:
                fail(f"a paragraph names {len(names)} packages: {paragraph[:80]!r}")
            out.write(names[0][9:] + KEY_END + paragraph + RECORD_END)
            count += 1
    print(count)


def consume(arguments):
    """A member of a group until SIGTERM, or until it has seen so many records."""
    from confluent_kafka import Consumer, KafkaError, KafkaException

    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    out = open(arguments.out, "a")
    positions = {}

    def commit(consumer, partitions):
        mine = [p for p in partitions if (p.topic, p.partition) in positions]
        for p in mine:
            p.offset = positions.pop((p.topic, p.partition))
        if mine:
            for p in consumer.commit(offsets=mine, asynchronous=False):
                if p.error:
                    fail(f"commit: {p.error}")

    consumer = Consumer(
        {
            "bootstrap.servers": arguments.bootstrap,
            "group.id": arguments.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "check.crcs": True,
            "session.timeout.ms": 10000,
        }
    )

    def assign(consumer, partitions):
        consumer.assign(partitions)
        if not started and arguments.share and len(partitions) > arguments.share:
            # The others have yet to join; alone, this member would read everything before they do.
            consumer.pause(partitions)
        else:
            started.append(True)

    started = []
    # The client takes partitions away before it joins anew, so this commit is the old generation's.
    consumer.subscribe([arguments.topic], on_assign=assign, on_revoke=commit)
    seen, begin = 0, time.monotonic()
    while not stopping and (arguments.stop_after is None or seen < arguments.stop_after):
        if time.monotonic() - begin > DEADLINE_S:
            fail(f"{arguments.out}: {seen} records in {DEADLINE_S} s")
        message = consumer.poll(0.1)
        if message is None:
            out.flush()
            continue
        if message.error():
            if message.error().code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                continue
            raise KafkaException(message.error())
        hashed = digest(message.key(), message.value())
        out.write(f"{message.partition()} {message.offset()} {hashed}\n")
        positions[message.topic(), message.partition()] = message.offset() + 1
        seen += 1
        if seen % 1000 == 0:
            out.flush()
    out.close()
    commit(consumer, consumer.assignment())
    consumer.close()
    print(f"  {arguments.out.rsplit('/')[-1]}: {seen} records")


def lines(paths):
    for path in paths:
        with open(path) as file:
            for line in file:
                partition, offset, hashed = line.split()
                yield path, int(partition), int(offset), hashed


def await_count(arguments):
    """Waits until all members together have seen so many records."""
    begin = time.monotonic()
    while True:
        seen = 0
        for path in arguments.members:
            try:
                seen += open(path, "rb").read().count(b"\n")
            except FileNotFoundError:
                pass
        if seen >= arguments.count:
            break
        if time.monotonic() - begin > DEADLINE_S:
            fail(f"{seen} of {arguments.count} records in {DEADLINE_S} s")
        time.sleep(0.1)


def source(path):
    records = open(path, "rb").read().split(RECORD_END)
    return [digest(*record.split(KEY_END, 1)) for record in records if record]


def check(arguments):
    """Every record once over all members, whole, in order, at offsets from 0 without a gap."""
    records = source(arguments.records)
    expected = {hashed: index for index, hashed in enumerate(records)}
    if len(expected) != len(records):
        fail("two records of the source are equal, so that seeing one twice could not be told")
    partitions, seen, working = {}, set(), set()
    for path, partition, offset, hashed in lines(arguments.members):
        if hashed not in expected:
            fail(f"{partition}@{offset} is no record of the source")
        if hashed in seen:
            fail(f"{partition}@{offset} was seen twice")
        seen.add(hashed)
        working.add(path)
        partitions.setdefault(partition, []).append((offset, expected[hashed]))
    if len(seen) != len(expected):
        fail(f"{len(expected) - len(seen)} of {len(expected)} records were not seen")
    if len(working) < arguments.min_members:
        fail(f"only {len(working)} members got records")
    if sorted(partitions) != list(range(arguments.partitions)):
        fail(f"records are in partitions {sorted(partitions)} only")
    for partition, records in partitions.items():
        records.sort()
        if [offset for offset, _ in records] != list(range(len(records))):
            fail(f"offsets of partition {partition} do not run from 0 without a gap")
        indexes = [index for _, index in records]
        # One producer: order within a partition is the source's, which holds per key all the more.
        if indexes != sorted(indexes):
            fail(f"partition {partition} is out of order")
    print(f"  {len(seen)} records, each once, whole and in order; offsets from 0 without a gap")


def continues(arguments):
    """The second run begins in each partition where the first one ended."""
    first, second = {}, {}
    for _, partition, offset, _ in lines([arguments.first]):
        first[partition] = max(offset, first.get(partition, -1))
    for _, partition, offset, _ in lines([arguments.second]):
        second[partition] = min(offset, second.get(partition, offset))
    common = [p for p in first if p in second]
    if not common:
        fail("the two runs have no partition in common")
    for partition in common:
        if second[partition] != first[partition] + 1:
            fail(f"partition {partition}: ended at {first[partition]}, began at {second[partition]}")
    print(f"  it continued in {len(common)} partitions at the committed offset")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    def command(name, function, *positional, **options):
        sub = commands.add_parser(name, help=function.__doc__.splitlines()[0])
        for argument in positional:
            sub.add_argument(argument, nargs="+" if argument == "members" else None)
        for option, settings in options.items():
            sub.add_argument("--" + option.replace("_", "-"), **settings)
        sub.set_defaults(function=function)

    needed, number = {"required": True}, {"type": int}
    command("split", split, "source", "records")
    command(
        "consume",
        consume,
        bootstrap=needed,
        topic=needed,
        group=needed,
        out=needed,
        stop_after=number,
        share=number,
    )
    command("await", await_count, "members", count=number | needed)
    command(
        "check",
        check,
        "members",
        records=needed,
        partitions=number | needed,
        min_members=number | {"default": 1},
    )
    command("continues", continues, "first", "second")
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
