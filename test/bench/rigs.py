"""What the figures run on: clusters of real processes, and what they cost."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from cluster import SLUICE, SLUICED, Cluster, bazel_bin, free_ports, wait_until  # noqa: E402,F401

GROUP_BENCH = os.path.join(bazel_bin(), "test", "bench", "group_bench")
# As /proc/PID/maps names it: bazel-bin is a link.
SYNC_FAULT = os.path.realpath(os.path.join(bazel_bin(), "test", "chaos", "libsync_fault.so"))
DEADLINE_S = 120  # of anything that must happen


def run_json(*command, timeout=600, stdin=None):
    """What a command prints, as JSON; its talk goes to our stderr."""
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=timeout, stdin=stdin)
    if done.returncode != 0:
        raise AssertionError("%s: exit %d" % (" ".join(command), done.returncode))
    return json.loads(done.stdout)


class Dev:
    """A `sluice dev` of three nodes, which the CLI's benches can look into."""

    realtime = 0  # its servers' --realtime_priority

    def __init__(self, controllers=0, settings=()):
        self.dir = tempfile.mkdtemp(prefix="sluice-bench.")
        self._log = open(os.path.join(self.dir, "dev.log"), "wb")
        self._args = ["--nodes", "3", "--controllers", str(controllers), "--dir", self.cluster,
                      "--port-base", "0", "--sluiced", self._sluiced()]
        for setting in settings:
            self._args += ["--set", setting]
        self._process = None
        self.bootstrap = None

    def _sluiced(self):
        if not self.realtime:
            return SLUICED
        path = os.path.join(self.dir, "sluiced")
        with open(path, "w") as script:
            script.write("#!/bin/sh\nexec '%s' --realtime_priority=%d \"$@\"\n" % (
                SLUICED, self.realtime))
        os.chmod(path, 0o755)
        return path

    def realtime_priority(self):
        """That its servers' shards have: what is so, not what was asked for."""
        found = set()
        for pid_file in glob.glob(os.path.join(self.cluster, "*", "sluiced.pid")):
            with open(pid_file) as file:
                tasks = "/proc/%d/task" % int(file.readline())
            for task in os.listdir(tasks):
                with open(os.path.join(tasks, task, "comm")) as comm:
                    if comm.read().startswith("shard-"):
                        found.add(os.sched_getparam(int(task)).sched_priority)
        (priority,) = found
        return priority

    @property
    def cluster(self):
        return os.path.join(self.dir, "cluster")

    def __enter__(self):
        out = os.path.join(self.dir, "bootstrap")
        with open(out, "wb") as file:
            # A session of its own: Ctrl-C reaches us, who stop it in order.
            self._process = subprocess.Popen([SLUICE, "dev"] + self._args, stdout=file,
                                             stderr=self._log, start_new_session=True)

        def told():
            assert self._process.poll() is None, "`sluice dev` ended; see %s" % self._log.name
            with open(out) as file:
                return re.search(r"SLUICE_BOOTSTRAP=(\S+)\n", file.read())
        self.bootstrap = wait_until(told, DEADLINE_S, "a healthy `sluice dev`").group(1)
        return self

    def __exit__(self, *failure):
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def topic(self, name, partitions, durability):
        subprocess.run([SLUICE, "topic", "create", name, "--bootstrap", self.bootstrap,
                        "--partitions", str(partitions), "--config",
                        "durability=" + durability], stdout=subprocess.DEVNULL, check=True)

    def bench(self, what, *args):
        return run_json(SLUICE, "bench", what, *args, "--dev-dir", self.cluster,
                        "--bootstrap", self.bootstrap, "-o", "json")


def produce(bootstrap, topic, *args):
    """The producer's bench against a cluster that is no `sluice dev`."""
    return run_json(SLUICE, "bench", "produce", "--topic", topic, "--bootstrap", bootstrap,
                    *args, "-o", "json")


def group_bench(cluster, mode, topic, partitions, **flags):
    return run_json(GROUP_BENCH, "--mode=" + mode, "--bootstrap=" + cluster.bootstrap(),
                    "--topic=" + topic, "--partitions=%d" % partitions,
                    *["--%s=%s" % flag for flag in flags.items()])


class Probe:
    """Groups that commit on and on while something is done to coordinators."""

    def __init__(self, cluster, topic):
        self._process = subprocess.Popen(
            [GROUP_BENCH, "--mode=probe", "--bootstrap=" + cluster.bootstrap(),
             "--topic=" + topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"running\n", "the probe ended"

    def stop(self):
        out, _ = self._process.communicate(b"stop\n", timeout=DEADLINE_S)
        return json.loads(out)["groups"]

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def cpu_seconds(cluster):
    """Of all running nodes."""
    ticks = 0
    for node in cluster.nodes.values():
        if node.alive:
            with open("/proc/%d/stat" % node.process.pid) as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def disk_bytes(directory):
    total = 0
    for root, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # compacted meanwhile
                total += os.stat(os.path.join(root, name)).st_blocks * 512
    return total


def machine():
    with open("/proc/loadavg") as load:
        average = float(load.read().split()[0])
    uname = os.uname()
    return {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cores": len(os.sched_getaffinity(0)), "kernel": uname.release,
            "loadAverage": average}


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
