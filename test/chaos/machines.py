"""Where the nodes of a chaos run live and how links between them are cut.

Namespaces: each node is a machine with one address on a bridge. This program
and its clients are a machine too, the one with the bridge. A one-way cut is a
neighbour entry: what one machine sends to another's address goes to a MAC that
nobody has. No error, no reset: it is lost, as in a network.
"""
import os
import subprocess
import sys
import time

CLIENTS = 200  # the clients' place among node ids
NOWHERE = "02:00:00:00:ff:ff"
PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.py")
PROBE_PORT = 9999
PROBE_S = 0.5  # a datagram that is not there by then was lost
PROBE_DEADLINE_S = 30  # of one that must arrive


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


class Probe:
    """probe.py on one machine."""

    def __init__(self, inside, host):
        self._process = subprocess.Popen(
            inside + [sys.executable, PROBE, host, str(PROBE_PORT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n", "no probe on %s" % host
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""

    def send(self, host, text):
        self._process.stdin.write(("%s %s\n" % (host, text)).encode())
        self._process.stdin.flush()

    def received(self):
        """The texts that came since last time."""
        assert self._process.poll() is None, "a probe ended"
        self._rest += self._process.stdout.read() or b""
        *lines, self._rest = self._rest.split(b"\n")
        return [line.decode() for line in lines]

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class Loopback:
    """All on 127.0.0.1: nothing can be cut."""
    name = "loopback (no namespaces)"
    can_cut = False

    def add(self, node):
        pass

    def client_host(self):
        return "127.0.0.1"

    def check(self):
        pass

    def heal(self):
        pass

    def close(self):
        pass


class Namespaces:
    name = "network namespaces"
    can_cut = True

    def __init__(self):
        self._holders = {}
        self._cut = set()
        self._probes = {}
        self._probed = 0  # times; names the datagrams
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "link", "set", "br0", "address", self._mac(CLIENTS), "up")
        run("ip", "address", "add", self.host(CLIENTS) + "/24", "dev", "br0")

    @staticmethod
    def host(node_id):
        return "10.77.0.%d" % node_id

    @staticmethod
    def _mac(node_id):
        return "02:00:00:00:00:%02x" % node_id

    def client_host(self):
        return self.host(CLIENTS)

    def _inside(self, node_id):
        if node_id == CLIENTS:
            return []
        return ["nsenter", "--net=/proc/%d/ns/net" % self._holders[node_id].pid, "--"]

    def add(self, node):
        """Gives the node its machine: `host` and the prefix of its command."""
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert holder.stdout.readline() == b"ready\n", "no namespace for node %d" % node.id
        self._holders[node.id] = holder
        port = "port%d" % node.id
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0",
            "address", self._mac(node.id), "netns", str(holder.pid))
        run("ip", "link", "set", port, "master", "br0", "up")
        node.host = self.host(node.id)
        node.prefix = self._inside(node.id)
        run(*node.prefix, "sh", "-c",
            "ip link set lo up && ip address add %s/24 dev eth0 && ip link set eth0 up"
            % node.host)

    def cut(self, source, target):
        """What `source` sends to `target` is lost from now on."""
        self._cut.add((source, target))
        self._point(source, target, NOWHERE)

    def cut_both(self, one, other):
        self.cut(one, other)
        self.cut(other, one)

    def check(self):
        """Cuts cut what they say and nothing else: over each of them a datagram
        is sent each way. Those of a direction that is cut are lost, the others
        arrive, and so do those between each end and the clients, or nothing
        would be known of its probe."""
        ends = {end for cut in self._cut for end in cut}
        ways = {way for cut in self._cut for way in (cut, cut[::-1])}
        ways |= {way for end in ends - {CLIENTS} for way in ((end, CLIENTS), (CLIENTS, end))}
        self._probed += 1
        # What must be lost first: it has the most time to arrive.
        for source, target in sorted(ways, key=lambda way: way not in self._cut):
            self._probe_of(target)
            self._probe_of(source).send(
                self.host(target), "%d>%d.%d" % (source, target, self._probed))
        due = {"%d>%d.%d" % (*way, self._probed): way for way in ways}
        free = ways - self._cut
        arrived = set()
        quiet = time.monotonic() + (PROBE_S if ways else 0)
        end = time.monotonic() + PROBE_DEADLINE_S
        while time.monotonic() < quiet or not free <= arrived:
            for target in {target for _, target in ways}:
                arrived |= {due[text] for text in self._probes[target].received()
                            if text in due}
            wrong = arrived & self._cut
            assert not wrong, "the cut %s cuts nothing" % sorted(wrong)
            assert time.monotonic() < end, "lost, and not cut: %s" % sorted(free - arrived)
            time.sleep(0.01)

    def _probe_of(self, machine):
        if machine not in self._probes:
            self._probes[machine] = Probe(self._inside(machine), self.host(machine))
        return self._probes[machine]

    def heal(self):
        for source, target in sorted(self._cut):
            self._point(source, target, self._mac(target))
        self._cut.clear()

    def _point(self, source, target, mac):
        run(*self._inside(source), "ip", "neighbour", "replace", self.host(target),
            "lladdr", mac, "nud", "permanent", "dev", "br0" if source == CLIENTS else "eth0")

    def close(self):
        for probe in self._probes.values():
            probe.close()
        # By name: what goes with its namespace goes some time later.
        for node_id in self._holders:
            subprocess.run(["ip", "link", "delete", "port%d" % node_id], stdin=subprocess.DEVNULL,
                           check=False)  # not there yet when its making failed
        for holder in self._holders.values():
            holder.kill()
        for holder in self._holders.values():
            holder.wait()
            holder.stdout.close()
        run("ip", "link", "delete", "br0")
