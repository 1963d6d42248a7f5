#!/usr/bin/python3
"""Peers that never end what they began (F60, slow-loris): the server closes their
connections, and whoever else is there goes on meanwhile."""
import selectors
import socket
import struct
import threading

from cluster import Cluster, run, wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HALF_PREFACES = 300
CONNECTIONS, STREAMS_EACH = 20, 100
DATA, HEADERS, SETTINGS = 0, 1, 4
END_HEADERS = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(
        ">I", stream) + payload


def header(name, value):
    """HPACK: a literal that is not indexed, its name too."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def unfinished_produce(stream):
    """A call whose message says 1,000 bytes and brings three."""
    head = b"".join(header(n, v) for n, v in (
        (b":method", b"POST"), (b":scheme", b"http"),
        (b":path", b"/sluice.v1.LogService/Produce"), (b":authority", b"loris"),
        (b"te", b"trailers"), (b"content-type", b"application/grpc")))
    return (frame(HEADERS, END_HEADERS, stream, head) +
            frame(DATA, 0, stream, b"\0" + struct.pack(">I", 1000) + b"abc"))


class Loris:
    """Connections that only listen. They close nothing: what ends them is the
    server."""

    def __init__(self, address):
        self.address = address
        self.open = selectors.DefaultSelector()
        self.opened = self.closed = 0

    def connect(self, words):
        host, port = self.address.rsplit(":", 1)
        peer = socket.create_connection((host, int(port)), timeout=60)
        peer.sendall(words)
        peer.setblocking(False)
        self.open.register(peer, selectors.EVENT_READ)
        self.opened += 1

    def look(self):
        """Reads what came; how many are still open."""
        for key, _ in self.open.select(timeout=0):
            try:
                if key.fileobj.recv(1 << 16):
                    continue
            except BlockingIOError:
                continue
            except ConnectionError:
                pass  # reset is closed too
            self.open.unregister(key.fileobj)
            key.fileobj.close()
            self.closed += 1
        return self.opened - self.closed


def peers_that_never_end_their_request_are_closed():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=1)
        cluster.produce("t", 0, [b"before"])
        loris = Loris(cluster.nodes[1].address)
        for _ in range(HALF_PREFACES):
            loris.connect(PREFACE[:len(PREFACE) // 2])
        for _ in range(CONNECTIONS):
            loris.connect(PREFACE + frame(SETTINGS, 0, 0) + b"".join(
                unfinished_produce(1 + 2 * i) for i in range(STREAMS_EACH)))

        acknowledged, over = [], threading.Event()

        def produce():
            while not over.is_set():
                value = b"%d" % len(acknowledged)
                if cluster.produce("t", 0, [value]).error.code == 0:
                    acknowledged.append(value)
        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        wait_until(lambda: len(acknowledged) >= 10, 60, "records beside them")
        wait_until(lambda: loris.look() == 0, 120, "every one of them closed by the server")
        seen = len(acknowledged)
        wait_until(lambda: len(acknowledged) >= seen + 10, 60, "records after them")
        over.set()
        producer.join()
        print("  %d connections were closed, %d records acknowledged meanwhile" % (
            loris.closed, seen))
        assert [v for _, _, v in cluster.read_all("t", 0)] == [b"before"] + acknowledged


if __name__ == "__main__":
    run([peers_that_never_end_their_request_are_closed])
