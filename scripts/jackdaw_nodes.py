"""Three nodes of Jackdaw for scripts."""

import os
import subprocess
import urllib.request

NODES = (1, 2, 3)


class JackdawNode:
    """One node. `ports` maps each number to its Kafka, peer and admin port."""

    def __init__(self, binary, folder, number, ports):
        self.binary = os.path.abspath(binary)
        self.kafka, self.peer, self.admin = ports[number]
        founders = ", ".join(f'{{ id = {n}, peer = "127.0.0.1:{ports[n][1]}" }}' for n in NODES)
        self.config, self.log = f"{folder}/node{number}.toml", f"{folder}/log{number}"
        with open(self.config, "w") as file:
            file.write(f'node_id = {number}\ndata_dir = "{folder}/data{number}"\nnodes = [{founders}]\n[listeners]\n')
            for key in ["kafka", "peer", "admin"]:
                file.write(f'{key} = "127.0.0.1:{getattr(self, key)}"\n')

    def start(self):
        with open(self.log, "ab") as log:
            command = [self.binary, "serve", "--config", self.config]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=30) as answer:
            return answer.read()

    def is_ready(self):
        try:
            return bool(self.get("/health/ready"))
        except OSError:
            return False

    def resident_mb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")

    def cpu_s(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
