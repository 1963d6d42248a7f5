#!/usr/bin/python3
"""The README's tour, `sluice dev` and quickstart.sh, as a user runs them.

usage: cli_e2e.py [CASE...]
"""
import glob
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("SLUICE_BIN") or os.path.join(ROOT, "bazel-bin")
SLUICE = os.path.join(BIN, "tools", "sluice")


def wait_until(condition, seconds, what):
    """Polls; a test waits for a state, never for a time."""
    seconds *= 5  # how much slower than one of its own a machine may be
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "not within %s s: %s" % (seconds, what)
        time.sleep(0.05)


def port_base():
    """P such that the ports of three nodes are free."""
    while True:
        base = random.randrange(10000, 29000, 10)
        try:
            for offset in (0, 100, 200, 300, 400):
                for i in (1, 2, 3):
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", base + offset + i))
            return base
        except OSError:
            continue


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pids(directory):
    found = {}
    for path in glob.glob(os.path.join(directory, "*", "sluiced.pid")):
        with open(path) as file:
            text = file.read()
        if text.strip():
            found[os.path.basename(os.path.dirname(path))] = int(text.split()[0])
    return found


class Dev:
    """A `sluice dev` in the background, in a directory of its own."""

    def __init__(self, *args, directory=None):
        self.temp = None if directory else tempfile.TemporaryDirectory(prefix="sluice-cli-e2e.")
        self.directory = directory or os.path.join(self.temp.name, "c")
        self.args = list(args) or ["--nodes", "3", "--port-base", str(port_base())]
        self.process = None

    def start(self):
        self.err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [SLUICE, "dev", "--dir", self.directory] + self.args,
            stdout=subprocess.PIPE, stderr=self.err, start_new_session=True)
        line = self.process.stdout.readline().decode()
        assert line.startswith("SLUICE_BOOTSTRAP="), (line, self.talk())
        self.bootstrap = line.strip().split("=", 1)[1]
        return self

    def talk(self):
        self.err.seek(0)
        return self.err.read().decode(errors="replace")

    def run(self, *args, check=True, stdin=b""):
        done = subprocess.run([SLUICE, "--bootstrap", self.bootstrap] + list(args),
                              input=stdin, capture_output=True, timeout=120)
        assert not check or done.returncode == 0, (args, done)
        return done

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.stop()
        if kind is not None:
            print("---- sluice dev said:\n" + self.talk())
        if self.temp:
            for pid in pids(self.directory).values():
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self.temp.cleanup()


def test_readme_tour():
    """The shell block of "Five minutes", line by line; only its directory and
    ports are others."""
    with open(os.path.join(ROOT, "README.md")) as readme:
        section = readme.read().split("## Five minutes", 1)[1]
    block = re.search(r"```sh\n(sluice dev .*?)```", section, re.S).group(1)
    with tempfile.TemporaryDirectory(prefix="sluice-cli-e2e.") as temp:
        directory, base = os.path.join(temp, "c"), port_base()
        block = block.replace("/tmp/sluice", directory)
        block = re.sub(r":90(0[123])", lambda m: ":%d" % (base + int(m.group(1))), block)
        lines = block.strip().split("\n")
        first = lines.pop(0)
        assert re.match(r"sluice dev --nodes 3 --dir \S+ &", first), first
        with Dev("--nodes", "3", "--port-base", str(base), directory=directory) as dev:
            env = dict(os.environ, PATH=os.path.dirname(SLUICE) + ":" + os.environ["PATH"])
            expected = {"sleep": 3}  # the health of a cluster without node-1
            shown = {}
            for line in lines:
                if line.startswith("export "):
                    name, value = line[len("export "):].split("=", 1)
                    env[name] = value
                    assert value == dev.bootstrap, (value, dev.bootstrap)
                    continue
                done = subprocess.run(["bash", "-c", line], env=env, capture_output=True,
                                      timeout=120)
                want = expected.get(line.split()[0].rstrip(";"), 0)
                assert done.returncode == want, (line, done)
                shown[line.split("#")[0].strip()] = done.stdout.decode()
            consumed = next(v for k, v in shown.items() if " consume " in k)
            assert sorted(consumed.split()) == ["1", "2", "3"], consumed
            health = next(v for k, v in shown.items() if k.startswith("sleep"))
            assert "broker 1" in health and "start" in health, health


def test_dev_resumes_and_refuses():
    with tempfile.TemporaryDirectory(prefix="sluice-cli-e2e.") as temp:
        directory = os.path.join(temp, "c")
        with Dev("--nodes", "3", "--port-base", str(port_base()), directory=directory) as dev:
            dev.run("topic", "create", "t", "--partitions", "2")
            dev.run("produce", "t", stdin=b"kept\n")
            second = subprocess.run([SLUICE, "dev", "--dir", directory], capture_output=True,
                                    timeout=60)
            assert second.returncode == 1 and b"another `sluice dev`" in second.stderr, second
            running = pids(directory)
            assert len(running) == 3
            assert dev.stop() == 0
            assert not any(alive(pid) for pid in running.values())
            assert pids(directory) == {}
        other = subprocess.run([SLUICE, "dev", "--dir", directory, "--nodes", "5"],
                               capture_output=True, timeout=60)
        assert other.returncode == 1 and b"--nodes 3, not 5" in other.stderr, other
        with Dev("--nodes", "3", directory=directory) as dev:
            read = dev.run("consume", "t", "--from", "earliest", "--exit-at-end")
            assert read.stdout == b"kept\n", read


def test_dev_reports_a_crash_and_not_a_stop():
    with Dev() as dev:
        os.kill(pids(dev.directory)["node-2"], signal.SIGKILL)
        wait_until(lambda: "node-2 ended by signal 9" in dev.talk(), 60, "the crash is told")
        assert "The end of " in dev.talk()
        dev.run("dev", "start", "node-2", "--dir", dev.directory)
        dev.run("cluster", "health", "--exit-when-healthy")
        dev.run("dev", "stop", "node-3", "--kill", "--dir", dev.directory)
        dev.run("dev", "start", "node-3", "--dir", dev.directory)
        again = dev.run("dev", "start", "node-3", "--dir", dev.directory, check=False)
        assert again.returncode == 1 and b"runs already" in again.stderr, again
        dev.run("cluster", "health", "--exit-when-healthy")
        assert "node-3 ended" not in dev.talk(), dev.talk()


def test_dev_with_separate_controllers():
    with Dev("--nodes", "3", "--controllers", "3", "--port-base", str(port_base())) as dev:
        assert sorted(pids(dev.directory)) == [
            "controller-1", "controller-2", "controller-3", "node-1", "node-2", "node-3"]
        info = dev.run("cluster", "info").stdout.decode()
        assert "101" in info and "CONTROLLER" in info, info
        dev.run("topic", "create", "t", "--partitions", "3")
        dev.run("produce", "t", stdin=b"a\nb\n")
        dev.run("dev", "stop", "controller-2", "--kill", "--dir", dev.directory)
        dev.run("produce", "t", stdin=b"c\n")
        read = dev.run("consume", "t", "--from", "earliest", "--exit-at-end").stdout
        assert sorted(read.split()) == [b"a", b"b", b"c"], read


def test_leaderships_return_by_order():
    with Dev() as dev:
        dev.run("topic", "create", "t", "--partitions", "6")
        dev.run("produce", "t", stdin=b"kept\n")
        dev.run("dev", "stop", "node-1", "--dir", dev.directory)
        dev.run("dev", "start", "node-1", "--dir", dev.directory)
        dev.run("cluster", "health", "--exit-when-healthy")

        def elsewhere():
            topics = json.loads(dev.run("topic", "describe", "t", "-o", "json").stdout)["topics"]
            return [p.get("partition", 0) for p in topics[0]["metadata"]["partitions"]
                    if p["leaderId"] != p["replicas"][0]]

        assert elsewhere(), "node 1 led nothing"
        dry = dev.run("partition", "elect", "--dry-run")
        assert b"would be elected" in dry.stdout, dry
        assert elsewhere(), "a dry run did something"
        done = dev.run("partition", "elect")
        assert b"elected" in done.stdout and not elsewhere(), done
        again = dev.run("partition", "elect", "t")
        assert again.stdout.count(b"not needed") == 6, again
        unclean = dev.run("partition", "elect", "t", "--unclean", "--yes")
        assert unclean.stdout.count(b"not needed") == 6, unclean
        reset = dev.run("partition", "reset-replica", "t", "0", "2", "--yes", check=False)
        assert reset.returncode == 1 and b"has not failed" in reset.stderr, reset
        wide = dev.run("topic", "describe", "t", "-o", "wide").stdout
        assert b"CAUGHT UP" in wide and b"in sync" in wide, wide
        read = dev.run("consume", "t", "--from", "earliest", "--exit-at-end")
        assert read.stdout == b"kept\n", read


def test_an_unclean_election_says_what_may_be_lost():
    """The eligible replica is dead, the one that is alive has less: an order elects
    it, and says from which offset on acknowledged records are gone."""
    with Dev() as dev:
        dev.run("topic", "create", "t", "--partitions", "1", "--replication-factor", "2",
                "--config", "min.insync.replicas=1")

        def now():
            told = json.loads(dev.run("topic", "describe", "t", "-o", "json").stdout)
            return told["topics"][0]["metadata"]["partitions"][0]

        def node(command, number, *flags):
            dev.run("dev", command, "node-%d" % number, *flags, "--dir", dev.directory)
        full, short = now()["replicas"]
        wait_until(lambda: sorted(now()["isr"]) == sorted([full, short]), 60, "a full ISR")
        dev.run("produce", "t", stdin=b"a\nb\n")
        node("stop", short, "--kill")
        wait_until(lambda: now()["isr"] == [full], 60, "an ISR of one")
        dev.run("produce", "t", stdin=b"lost\nlost\nlost\n")
        node("stop", full, "--kill")
        node("start", short)

        def waits():
            ids = [b["id"] for b in json.loads(
                dev.run("cluster", "info", "-o", "json").stdout)["brokers"] if not b.get("fenced")]
            return short in ids and now().get("leaderId", 0) <= 0
        wait_until(waits, 60, "broker %d is up and does not lead" % short)

        dry = dev.run("partition", "elect", "t", "-p", "0", "--unclean", "--dry-run")
        assert b"not known yet" in dry.stdout, dry
        assert now().get("leaderId", 0) <= 0, "a dry run did something"
        done = dev.run("partition", "elect", "t", "-p", "0", "--unclean", "--yes")
        row = done.stdout.decode().splitlines()[1].split()
        assert row[:2] == ["t-0", str(short)] and b"elected" in done.stdout, done
        # Of the two records that it has it may not know that they are committed.
        loss = re.search(rb"from (\d+), known end (\d+)", done.stdout)
        assert loss and int(loss[1]) <= int(loss[2]) <= 5 and int(loss[1]) <= 2, done
        health = dev.run("cluster", "health", check=False)
        assert health.returncode == 3 and b"UNCLEAN_ELECTION" in health.stdout, health
        assert b"from offset %s on" % loss[1] in health.stdout, health

        # What comes next takes their place, also at the replica that had them.
        node("start", full)
        wait_until(lambda: sorted(now()["isr"]) == sorted([full, short]), 60, "a full ISR")
        dev.run("produce", "t", stdin=b"c\n")
        read = dev.run("consume", "t", "--from", "earliest", "--exit-at-end")
        assert read.stdout == b"a\nb\nc\n", read


def test_a_watch_shows_what_moves_and_ends_with_its_topic():
    with Dev() as dev, tempfile.NamedTemporaryFile() as sink:
        dev.run("topic", "create", "t", "--partitions", "3")
        watch = subprocess.Popen([SLUICE, "--bootstrap", dev.bootstrap, "topic", "describe", "t",
                                  "--watch"], stdout=sink, stderr=subprocess.PIPE)

        def times_told():
            with open(sink.name, "rb") as told:
                return told.read().count(b"topic   t")
        wait_until(lambda: times_told() == 1, 60, "the topic as it is")
        dev.run("dev", "stop", "node-1", "--kill", "--dir", dev.directory)
        wait_until(lambda: times_told() >= 2, 60, "what the kill has changed")
        dev.run("dev", "start", "node-1", "--dir", dev.directory)
        dev.run("cluster", "health", "--exit-when-healthy")
        dev.run("topic", "delete", "t", "--yes")
        assert watch.wait(60) == 4, watch
        assert b"UNKNOWN_TOPIC_OR_PARTITION" in watch.stderr.read()


def test_a_killed_dev_leaves_no_node():
    dev = Dev()
    with dev:
        running = pids(dev.directory)
        dev.process.kill()
        dev.process.wait()
        wait_until(lambda: not any(alive(p) for p in running.values()), 60,
                   "the guardian stops the nodes")
        assert "is gone; stopping its nodes" in dev.talk()


def test_a_reader_that_leaves_ends_consume():
    with Dev("--nodes", "1", "--port-base", str(port_base())) as dev:
        dev.run("topic", "create", "t")
        dev.run("produce", "t", stdin=b"".join(b"%d\n" % i for i in range(200000)))
        consume = subprocess.Popen([SLUICE, "--bootstrap", dev.bootstrap, "consume", "t", "--from",
                                    "earliest"], stdout=subprocess.PIPE)
        assert consume.stdout.readline() == b"0\n"
        consume.stdout.close()
        assert consume.wait(timeout=60) == 0


def test_log_dump_reads_what_a_node_wrote_and_names_damage():
    with Dev("--nodes", "1", "--port-base", str(port_base())) as dev:
        dev.run("topic", "create", "t")
        dev.run("produce", "t", "-K", ":", stdin=b"k:one\nk:two\n")
        logs = glob.glob(os.path.join(dev.directory, "node-1/data/broker/*-0/*.log"))
        assert len(logs) == 1, logs
        lines = [json.loads(line) for line in
                 dev.run("log", "dump", os.path.dirname(logs[0]), "--records", "-o",
                         "json").stdout.splitlines()]
        batches = [line for line in lines if "crc" in line]
        assert batches and all(b["crc"] == "ok" for b in batches), lines
        assert sum(b["records"] for b in batches) == 2, lines
        assert [(r["offset"], r["key"], r["value"]) for r in lines if "value" in r] == [
            (0, "k", "one"), (1, "k", "two")], lines
        assert b"crc: ok" in dev.run("log", "dump", logs[0]).stdout
        damaged = os.path.join(dev.directory, "damaged.log")
        with open(logs[0], "rb") as file, open(damaged, "wb") as copy:
            data = bytearray(file.read())
            data[-1] ^= 1
            copy.write(data)
        done = dev.run("log", "dump", damaged, check=False)
        assert done.returncode == 1 and b"checksum" in done.stderr, done
        with open(damaged, "wb") as copy:
            copy.write(data[:-1])
        done = dev.run("log", "dump", damaged, check=False)
        assert done.returncode == 1 and b"no whole batch" in done.stderr, done
        done = dev.run("log", "dump", os.path.join(dev.directory, "node-1/data"), check=False)
        assert done.returncode == 1 and b"TOPIC_ID-PARTITION" in done.stderr, done


def test_bench_failover_restarts_what_it_kills():
    with Dev() as dev:
        done = dev.run("bench", "failover", "--dev-dir", dev.directory, "--partitions", "10",
                       "--rounds", "2", "-o", "json")
        result = json.loads(done.stdout)
        assert result["failed"] == 0 and len(result["rounds"]) == 2, result
        assert all(r["partitionsLed"] > 0 and r["longestGapMs"] > 0 for r in result["rounds"])
        assert len(pids(dev.directory)) == 3
        dev.run("cluster", "health")
        assert dev.run("topic", "list", "-o", "name").stdout == b""
        assert "ended by signal" not in dev.talk(), dev.talk()


def quickstart(*args, **kwargs):
    return subprocess.Popen([os.path.join(ROOT, "deploy", "quickstart.sh")] + list(args),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


def test_quickstart_counts_and_cleans_up():
    lines = 600000  # far more than can be in flight: requests are under way at the kill
    with tempfile.TemporaryDirectory(prefix="sluice-cli-e2e.") as temp:
        path = os.path.join(temp, "lines with a space.txt")
        with open(path, "wb") as file:
            for i in range(lines):
                file.write(b"%d \xff line\n" % i)
        work = os.path.join(temp, "tmp")
        os.mkdir(work)
        process = quickstart(os.path.basename(path), cwd=temp, env=dict(os.environ, TMPDIR=work))
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, err.decode(errors="replace")
        rows = [line.split(": ") for line in out.decode().strip().split("\n")]
        assert [row[0] for row in rows] == [
            "sent", "acknowledged", "read", "lost", "duplicated", "reordered", "phantom",
            "retried", "deduplicated", "ack_gap_ms", "produce_mb_s", "consume_mb_s"], out
        numbers = {name: float(value) for name, value in rows}
        assert numbers["sent"] == numbers["acknowledged"] == lines
        assert numbers["lost"] == numbers["reordered"] == numbers["phantom"] == 0
        assert numbers["duplicated"] == 0
        assert numbers["read"] == lines
        # A follower was held still before the kill: what was stored meanwhile is
        # sent again, and found by the next leader.
        assert numbers["retried"] >= numbers["deduplicated"] > 0, out
        assert os.listdir(work) == [], os.listdir(work)


def test_quickstart_names_what_it_cannot_use():
    for args, code, text in ((["/nowhere/at all"], 1, b"/nowhere/at all does not exist"),
                             ([ROOT], 1, b"is a directory"),
                             (["--nonsense"], 2, b"unknown option"),
                             (["a", "b"], 2, b"one FILE")):
        process = quickstart(*args)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code and text in err and out == b"", (args, err)


def test_quickstart_that_is_ended_leaves_nothing():
    with tempfile.TemporaryDirectory(prefix="sluice-cli-e2e.") as work:
        process = quickstart(env=dict(os.environ, TMPDIR=work))
        found = wait_until(lambda: [p for d in glob.glob(work + "/*/cluster")
                                    for p in pids(d).values()], 900, "nodes run")
        process.terminate()
        process.communicate(timeout=120)
        assert process.returncode == 143, process.returncode
        assert not any(alive(pid) for pid in found)
        assert os.listdir(work) == [], os.listdir(work)


def main():
    cases = {name[len("test_"):]: body for name, body in sorted(globals().items())
             if name.startswith("test_")}
    wanted = sys.argv[1:] or list(cases)
    for name in wanted:
        start = time.monotonic()
        cases[name]()
        print("ok %-50s %5.1f s" % (name, time.monotonic() - start), flush=True)


if __name__ == "__main__":
    main()
