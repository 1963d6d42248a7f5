#!/usr/bin/python3
"""A TCP proxy that misbehaves as told.

proxy.py: reads JSON lines on stdin, answers each with a line "ok".
  {"listen": "HOST:PORT", "to": "HOST:PORT", "name": N}   one more listener
  {"rules": [RULE...]}       all rules; for a connection the last that fits
  {"reset": RULE}            RST to both ends of what fits, now

RULE: {"name": N or null, "source": HOST or null, "mode": MODE, ...}; null fits
all. Modes:
  pass       nothing
  delay      "ms" each way, in order, at full speed
  trickle    "bytes_per_s" each way
  hold       nothing is read; it goes on when the rule goes
  half_open  what is sent is taken and thrown away, for ever: a stream with a
             hole is no TCP, so the connection stays dead when the rule goes
"""
import asyncio
import json
import socket
import struct
import sys

CHUNK = 64 << 10
TRICKLE_BYTES = 64
LOOK_EVERY_S = 0.02  # at the rules, while held
QUEUE_CHUNKS = 64


class Proxy:
    def __init__(self):
        self.rules = []
        self.links = set()

    def rule(self, link):
        found = {"mode": "pass"}
        for rule in self.rules:
            if fits(rule, link):
                found = rule
        return found

    def listen_handler(self, name, target):
        async def handle(reader, writer):
            link = Link(self, name, writer.get_extra_info("peername")[0])
            self.links.add(link)
            try:
                await link.run(reader, writer, target)
            finally:
                self.links.discard(link)
        return handle


def fits(rule, link):
    return (rule.get("name") in (None, link.name)
            and rule.get("source") in (None, link.source))


class Link:
    """One connection through the proxy."""

    def __init__(self, proxy, name, source):
        self.proxy, self.name, self.source = proxy, name, source
        self.dead = False
        self.writers = []

    async def run(self, reader, writer, target):
        self.writers = [writer]
        # Who dials into a half-open link is answered by the proxy alone.
        if self.mode() == "half_open":
            self.dead = True
            await self.swallow(reader)
            return writer.close()
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError:
            return self.reset()  # as the closed port itself would
        self.writers.append(far_writer)
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
        for end in self.writers:
            end.close()

    def mode(self):
        return "half_open" if self.dead else self.proxy.rule(self)["mode"]

    async def swallow(self, reader):
        try:
            while await reader.read(CHUNK):
                pass
        except OSError:
            pass

    async def pump(self, reader, writer):
        """One direction, until its end of file; an error ends both."""
        queue = asyncio.Queue(QUEUE_CHUNKS)
        parts = [asyncio.create_task(self.fill(reader, queue)),
                 asyncio.create_task(self.drain(queue, writer))]
        try:
            await asyncio.gather(*parts)
        except OSError:
            if not self.dead:
                self.reset()
        finally:
            for part in parts:
                part.cancel()

    async def fill(self, reader, queue):
        clock = asyncio.get_running_loop().time
        while True:
            while self.mode() == "hold":
                await asyncio.sleep(LOOK_EVERY_S)
            data = await reader.read(CHUNK)
            rule = self.proxy.rule(self)
            if self.mode() == "half_open":
                self.dead = True
                if data:
                    continue
            due = clock() + (rule["ms"] / 1000 if rule["mode"] == "delay" else 0)
            await queue.put((due, data))
            if not data:
                return

    async def drain(self, queue, writer):
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - clock()))
            if not data:
                # An end of file passes a dead link as little as data does.
                if not self.dead and writer.can_write_eof():
                    writer.write_eof()
                return
            await self.write(data, writer)

    async def write(self, data, writer):
        while data:
            rule = self.proxy.rule(self)
            if self.mode() == "half_open":
                self.dead = True
                return
            if rule["mode"] != "trickle":
                writer.write(data)
                return await writer.drain()
            writer.write(data[:TRICKLE_BYTES])
            data = data[TRICKLE_BYTES:]
            await writer.drain()
            await asyncio.sleep(TRICKLE_BYTES / rule["bytes_per_s"])

    def reset(self):
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


async def obey(proxy, order):
    if "listen" in order:
        host, port = split(order["listen"])
        await asyncio.start_server(
            proxy.listen_handler(order["name"], split(order["to"])), host, port)
    if "rules" in order:
        proxy.rules = order["rules"]
    if "reset" in order:
        for link in list(proxy.links):
            if fits(order["reset"], link):
                link.reset()


async def main():
    proxy = Proxy()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await obey(proxy, json.loads(line))
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
