"""Apache Kafka brokers for comparisons: combined KRaft nodes with Kafka's defaults, as many as there are ports for.

The jars come from Maven Central:
    mvn -q -f benches/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$PWD/target/kafka/libs
"""

import os
import subprocess
import sys
import time

from nodes import NodeProcess

CLUSTER_ID = "amFja2Rhdy1jb21wYXJlcw"
# What Kafka's own start scripts give a broker.
JVM = ["-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExplicitGCInvokesConcurrent"]
LOGGED = "-Dlog4j2.level=WARN"
PROPERTIES = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{kafka}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data{number}
# Of Kafka's own topics; the default is 3 wherever there are as many brokers.
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={isr}
"""


class KafkaNode(NodeProcess):
    """One broker. `ports` maps each number to its Kafka and controller port, and perhaps others; `settings` are added to
    the broker's properties."""

    settings = {}

    def __init__(self, jars, folder, number, ports):
        if not os.path.isdir(jars):
            sys.exit(f"{jars} is not there; get the jars with\n{__doc__.splitlines()[3]}")
        self.kafka, self.controller = ports[number][:2]
        self.number, self.log = number, f"{folder}/kafka{number}.log"
        voters = ",".join(f"{n}@127.0.0.1:{ports[n][1]}" for n in ports)
        self.config = f"{folder}/server{number}.properties"
        with open(self.config, "w") as file:
            file.write(PROPERTIES.format(number=number, voters=voters, folder=folder, kafka=self.kafka,
                                         controller=self.controller, replicas=min(3, len(ports)),
                                         isr=min(2, len(ports))))
            file.writelines(f"{key}={value}\n" for key, value in self.settings.items())
        self.java = ["java", *JVM, LOGGED, "-cp", f"{jars}/*"]
        with open(self.log, "ab") as log:
            subprocess.run([*self.java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", self.config],
                           stdout=log, stderr=log, check=True)

    def start(self):
        with open(self.log, "ab") as log:
            self.begun = time.perf_counter()
            self.process = subprocess.Popen([*self.java, "kafka.Kafka", self.config], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
