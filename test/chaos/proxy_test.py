#!/usr/bin/python3
"""Each mode of proxy.py does what it says, on one connection to an echo."""
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_S = 30  # for what must come
QUIET_S = 0.3  # for what must not
DELAY_MS = 200


def echo(listener):
    """Sends back what comes, a thread a connection, until it is closed."""
    def serve(connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(4096):
                connection.sendall(data)
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


class ProxyTest(unittest.TestCase):
    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=echo, args=(self.listener,), daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        self.proxy = subprocess.Popen([sys.executable, os.path.join(HERE, "proxy.py")],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.order({"listen": "%s:%d" % self.address, "name": 1,
                    "to": "127.0.0.1:%d" % self.listener.getsockname()[1]})
        self.link = self.dial()

    def tearDown(self):
        self.link.close()
        self.proxy.kill()
        self.proxy.wait()
        self.proxy.stdin.close()
        self.proxy.stdout.close()
        self.listener.close()

    def order(self, order):
        self.proxy.stdin.write(json.dumps(order).encode() + b"\n")
        self.proxy.stdin.flush()
        self.assertEqual(self.proxy.stdout.readline(), b"ok\n")

    def dial(self):
        return socket.create_connection(self.address, PATIENCE_S)

    def says(self, text, link=None):
        link = link or self.link
        link.settimeout(PATIENCE_S)
        link.sendall(text)
        got = b""
        while len(got) < len(text):
            got += link.recv(4096)
        self.assertEqual(got, text)

    def is_quiet(self, link=None):
        link = link or self.link
        link.settimeout(QUIET_S)
        with self.assertRaises(TimeoutError):
            link.recv(1)

    def test_pass(self):
        self.says(b"hello" * 1000)

    def test_delay_both_ways(self):
        self.order({"rules": [{"mode": "delay", "ms": DELAY_MS}]})
        began = time.monotonic()
        self.says(b"hello")
        self.assertGreaterEqual(time.monotonic() - began, 2 * DELAY_MS / 1000)

    def test_trickle(self):
        self.order({"rules": [{"mode": "trickle", "bytes_per_s": 1000}]})
        began = time.monotonic()
        self.says(b"x" * 500)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_hold_loses_nothing(self):
        self.says(b"before")
        self.order({"rules": [{"mode": "hold"}]})
        self.link.sendall(b"first ")  # the read that waits takes it
        self.link.sendall(b"held")
        time.sleep(QUIET_S)
        self.order({"rules": []})
        self.link.settimeout(PATIENCE_S)
        got = b""
        while len(got) < len(b"first held"):
            got += self.link.recv(4096)
        self.assertEqual(got, b"first held")

    def test_half_open_stays_dead_and_new_ones_live(self):
        self.says(b"before")
        self.order({"rules": [{"mode": "half_open"}]})
        self.link.sendall(b"lost")
        self.is_quiet()
        with self.dial() as other:
            other.sendall(b"lost")
            self.is_quiet(other)
            self.order({"rules": []})
            self.link.sendall(b"lost too")
            self.is_quiet()
            other.sendall(b"lost too")
            self.is_quiet(other)
        with self.dial() as other:
            self.says(b"alive", other)

    def test_reset(self):
        self.says(b"before")
        self.order({"reset": {"name": 1}})
        self.link.settimeout(PATIENCE_S)
        with self.assertRaises(ConnectionResetError):
            self.link.recv(1)

    def test_rules_fit_by_name_and_source(self):
        self.order({"rules": [{"name": 2, "mode": "half_open"},
                              {"source": "10.0.0.1", "mode": "half_open"}]})
        self.says(b"untouched")


if __name__ == "__main__":
    unittest.main()
