#!/usr/bin/env python3
"""How fast Kafka's own producer tool writes to few and to many partitions of three nodes, in turn.

    mvn -q -f benches/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$PWD/target/kafka/libs
    scripts/throughput.py target/release/jackdaw target/kafka/libs [ROUNDS]
    scripts/throughput.py target/kafka/libs target/kafka/libs [ROUNDS]     # Apache Kafka instead

kafka-tools' ProducerPerformance sends 1 KiB records as fast as it can, acks=all, with its defaults otherwise: to a topic of 12
partitions and to one of 1,000, three replicas each, alternately. Printed are MB/s of every round, the medians and their
ratio; Jackdaw has a bar: with 1,000 partitions at least half of what 12 take (exit code 1 below it). Needs Java 17,
Python 3 and confluent-kafka (`pip install confluent-kafka`).
"""

import os
import re
import statistics
import subprocess
import sys

from jackdaw_nodes import JackdawNode
from kafka_nodes import KafkaNode
from steady import BrokerWatch, running, wait

FEW, MANY, BAR = 12, 1000, 0.5
RECORDS, RECORD_BYTES = 400_000, 1024


def write_mb_s(jars, bootstrap, topic):
    command = [
        "java", "-Xmx512m", "-cp", f"{jars}/*", "org.apache.kafka.tools.ProducerPerformance",
        "--topic", topic, "--num-records", str(RECORDS), "--record-size", str(RECORD_BYTES), "--throughput", "-1",
        "--producer-props", f"bootstrap.servers={bootstrap}", "acks=all",
    ]
    said = subprocess.run(command, capture_output=True, text=True)
    found = re.findall(r"\(([\d.]+) MB/sec\)", said.stdout)
    if said.returncode or not found or "Exception" in said.stdout + said.stderr:
        sys.exit(f"ProducerPerformance failed:\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
    return float(found[-1])


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    what, jars, rounds = sys.argv[1], sys.argv[2], int((sys.argv[3:] + ["5"])[0])
    is_kafka = os.path.isdir(what)
    topics, found = {FEW: "few", MANY: "many"}, {FEW: [], MANY: []}
    with running(KafkaNode if is_kafka else JackdawNode, what) as nodes:
        watch = BrokerWatch(nodes)
        for count, topic in topics.items():
            watch.create(topic, count)
            if not is_kafka:
                wait("leaders spread evenly", lambda topic=topic: watch.is_even(topic))
            # The JVMs and the disk get warm.
            write_mb_s(jars, watch.bootstrap, topic)
        for number in range(1, rounds + 1):
            for count, topic in topics.items():
                found[count].append(write_mb_s(jars, watch.bootstrap, topic))
            print(f"round {number}: " + ", ".join(f"{count} partitions {found[count][-1]:.0f} MB/s" for count in topics), flush=True)
    few, many = (statistics.median(found[count]) for count in topics)
    print(f"medians: {FEW} partitions {few:.0f} MB/s, {MANY} partitions {many:.0f} MB/s, ratio {many / few:.2f}")
    sys.exit(int(not is_kafka and many / few < BAR))


if __name__ == "__main__":
    main()
