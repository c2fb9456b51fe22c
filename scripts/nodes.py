"""What the scripts that start nodes of their own share."""

import socket
import struct


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
