"""Nodes of Jackdaw for scripts: three, or as many as there are ports for."""

import os
import subprocess
import time
import urllib.request

from nodes import NodeProcess

NODES = (1, 2, 3)


class JackdawNode(NodeProcess):
    """One node. `ports` maps each number to its Kafka, peer and admin port."""

    def __init__(self, binary, folder, number, ports):
        self.binary = os.path.abspath(binary)
        self.kafka, self.peer, self.admin = ports[number]
        founders = ", ".join(f'{{ id = {n}, peer = "127.0.0.1:{ports[n][1]}" }}' for n in ports)
        self.config, self.log = f"{folder}/node{number}.toml", f"{folder}/log{number}"
        with open(self.config, "w") as file:
            file.write(f'node_id = {number}\ndata_dir = "{folder}/data{number}"\nnodes = [{founders}]\n[listeners]\n')
            for key in ["kafka", "peer", "admin"]:
                file.write(f'{key} = "127.0.0.1:{getattr(self, key)}"\n')

    def start(self):
        with open(self.log, "ab") as log:
            command = [self.binary, "serve", "--config", self.config]
            self.begun = time.perf_counter()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=30) as answer:
            return answer.read()

    def is_ready(self):
        try:
            return bool(self.get("/health/ready"))
        except OSError:
            return False
