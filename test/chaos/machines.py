"""Where the nodes of a chaos run live and how links between them are cut.

Namespaces: each node is a machine with one address on a bridge. This program
and its clients are a machine too, the one with the bridge. A one-way cut is a
neighbour entry: what one machine sends to another's address goes to a MAC that
nobody has. No error, no reset: it is lost, as in a network.
"""
import subprocess

CLIENTS = 200  # the clients' place among node ids
NOWHERE = "02:00:00:00:ff:ff"
PROBE_S = 0.5
TIMED_OUT = 124  # exit code of timeout(1)


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


class Loopback:
    """All on 127.0.0.1: nothing can be cut."""
    name = "loopback (no namespaces)"
    can_cut = False

    def add(self, node):
        pass

    def client_host(self):
        return "127.0.0.1"

    def check(self, nodes):
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

    def check(self, nodes):
        """A cut that cuts nothing would show nothing: no connection between
        the ends of the first one comes about."""
        for source, target in sorted(self._cut)[:1]:
            # Either way round: without answers there is no connection.
            dialer, dialed = (source, target) if target != CLIENTS else (target, source)
            probe = self._inside(dialer) + [
                "timeout", str(PROBE_S), "bash", "-c", "exec 3<>/dev/tcp/%s/%d" % (
                    nodes[dialed].host, nodes[dialed].internal_port)]
            done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True)
            assert done.returncode == TIMED_OUT, (
                "the cut from %d to %d cuts nothing: %s" % (source, target, done))

    def heal(self):
        for source, target in sorted(self._cut):
            self._point(source, target, self._mac(target))
        self._cut.clear()

    def _point(self, source, target, mac):
        run(*self._inside(source), "ip", "neighbour", "replace", self.host(target),
            "lladdr", mac, "nud", "permanent", "dev", "br0" if source == CLIENTS else "eth0")

    def close(self):
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
