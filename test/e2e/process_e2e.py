#!/usr/bin/python3
"""What sluiced promises as a process: flags, addresses, signals, exit codes."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import urllib.request

from cluster import ROOT, Cluster, SLUICED, common_pb2, free_ports, run, topic_pb2, wait_until


def sluiced(*flags, seconds=60):
    done = subprocess.run([SLUICED] + list(flags), capture_output=True, timeout=seconds,
                          stdin=subprocess.DEVNULL)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def flags_are_explained_and_mistakes_named():
    code, text = sluiced("--help")
    assert code == 0 and "--controllers" in text and "usage:" in text, text
    code, text = sluiced("--version")
    assert code == 0 and re.fullmatch(r"sluiced \d+\.\d+\.\d+\n", text), text
    for flags, name in ((["--no_such_flag=1"], "no_such_flag"),
                        (["stray"], "stray"),
                        ([], "--node_id"),
                        (["--node_id=1", "--roles=king"], "king"),
                        (["--node_id=1", "--data_dirs=/tmp/x"], "--controllers"),
                        (["--node_id=1", "--data_dirs=/tmp/x", "--controllers=1@127.0.0.1:1",
                          "--set=no.such.key=1"], "no.such.key"),
                        (["--node_id=1", "--data_dirs=/tmp/x", "--controllers=1@127.0.0.1:1",
                          "--set=durability=memory", "--set=durability=disk"], "twice")):
        code, text = sluiced(*flags)
        assert code == 1 and name in text, (flags, code, text)


def a_flag_file_holds_what_the_command_line_would():
    with Cluster(brokers=1, settings={"durability": "memory"}) as cluster:
        node = cluster.nodes[1]
        path = os.path.join(cluster.dir, "node.flags")
        with open(path, "w") as file:
            file.write("\n".join(cluster.flags(node)) + "\n--set=num.partitions=3\n")
        log = open(node.log_path, "ab")
        node.process = subprocess.Popen([SLUICED, "--flagfile=" + path], stdout=log, stderr=log)
        log.close()
        cluster.wait_healthy()
        answer = cluster.topics().CreateTopics(topic_pb2.CreateTopicsRequest(
            topics=[topic_pb2.NewTopic(name="defaults")]), timeout=60).results[0]
        assert (answer.error.code, answer.partition_count) == (0, 3), answer
        assert cluster.produce("defaults", 0, [b"x"]).durability == "memory"
        assert cluster.stop(1) == [0]


def an_address_that_is_taken_is_refused_before_anything_changes():
    with Cluster(brokers=1) as cluster:
        node = cluster.nodes[1]
        for flag in ("listen", "internal_listen", "metrics_listen"):
            taken = socket.socket()
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            flags = [f for f in cluster.flags(node) if not f.startswith("--%s=" % flag)]
            code, text = sluiced(*flags, "--%s=%s" % (flag, address))
            taken.close()
            assert code == 1 and address in text and "in use" in text, (code, text)
            assert not os.path.exists(os.path.join(node.dir, "data")), "touched by " + flag


def signals_stop_it_cleanly_and_a_second_one_at_once():
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=3, replicas=3)
        cluster.nodes[1].process.send_signal(signal.SIGINT)
        assert cluster.nodes[1].process.wait(timeout=60) == 0
        cluster.nodes[1].process = None
        # Without the others it would look for somebody to take over.
        cluster.kill(2)
        process = cluster.nodes[3].process
        process.send_signal(signal.SIGTERM)
        # Before it has taken the first, a second one is the same one.
        wait_until(lambda: "signal 15: stopping" in open(cluster.nodes[3].log_path).read(),
                   60, "its word")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        cluster.nodes[3].process = None


BULK = {"io", "rocksdb:low", "rocksdb:high"}


def threads_of(process):
    """Name, policy and real-time priority of each."""
    found = []
    for task in os.listdir("/proc/%d/task" % process.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended
            with open("/proc/%d/task/%s/comm" % (process.pid, task)) as comm:
                name = comm.read().strip()
            found.append((name, os.sched_getscheduler(int(task)),
                          os.sched_getparam(int(task)).sched_priority))
    return found


def real_time_priority_may_be_asked_for_here():
    """Of a child, so that this process stays what it is."""
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def threads_have_the_real_time_priority_that_was_asked_for():
    with Cluster(brokers=1) as cluster:
        node = cluster.nodes[1]
        flags = cluster.flags(node)
        code, text = sluiced(*flags, "--realtime_priority=51")
        assert code == 1 and "--realtime_priority=51: needs 1 to 50" in text, (code, text)
        # Without the right to it, root too.
        bare = subprocess.run(
            ["prlimit", "--rtprio=0", "setpriv", "--bounding-set=-sys_nice",
             "--inh-caps=-sys_nice", SLUICED, *flags, "--realtime_priority=5"],
            capture_output=True, timeout=60, text=True)
        assert bare.returncode == 1, bare
        for word in ("--realtime_priority=5", "CAP_SYS_NICE", "RLIMIT_RTPRIO", "LimitRTPRIO=5"):
            assert word in bare.stderr, (word, bare.stderr)
        assert not os.path.exists(os.path.join(node.dir, "data")), "touched"

        cluster.start().wait_healthy()
        assert all(policy == os.SCHED_OTHER for _, policy, _ in threads_of(node.process))
        assert cluster.stop(1) == [0]
        if not real_time_priority_may_be_asked_for_here():
            print("  not permitted here: only the refusal was looked at")
            return
        node.extra = ["--realtime_priority=5"]
        cluster.start().wait_healthy()
        cluster.create_topic("t", replicas=1)
        cluster.produce("t", 0, [b"x"])
        cluster.cli("group", "list")  # RocksDB under the views of offsets

        def all_as_asked():  # `io` gives it back with its first task
            threads = threads_of(node.process)
            names = {name for name, _, _ in threads}
            assert names >= BULK | {"shard-0", "sync-0", "control", "raft-writer"}, names
            odd = [t for t in threads
                   if t[1:] != ((os.SCHED_OTHER, 0) if t[0] in BULK else (os.SCHED_FIFO, 5))]
            print("  %d threads, not as asked: %s" % (len(threads), odd))
            return not odd
        wait_until(all_as_asked, 60, "threads as asked")
        assert cluster.stop(1) == [0]


def metrics_tell_what_a_node_does():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=3, replicas=3)
        cluster.wait_full_isr("t")
        for i in range(10):
            cluster.produce("t", 0, [b"x" * 1000])
        cluster.read_all("t", 0)

        def page(node, path):
            return urllib.request.urlopen("http://127.0.0.1:%d%s" % (node.metrics_port, path),
                                          timeout=60).read().decode()

        def total(name):
            found = 0
            for node in cluster.nodes.values():
                for value in re.findall(r"^%s(?:\{[^}]*\})? (\S+)$" % name,
                                        page(node, "/metrics"), re.M):
                    found += float(value)
            return found
        assert total("sluice_up") == 4
        assert total("sluice_broker_leaders") == 3
        # A follower may not have heard of its replica yet: only leaders are
        # waited for when a topic is made.
        wait_until(lambda: total("sluice_broker_replicas") == 9, 60, "nine replicas")
        assert total("sluice_broker_serving") == 3
        assert total("sluice_controller_active") == 1
        assert total("sluice_controller_fenced_brokers") == 0
        assert total("sluice_broker_in_bytes_total") > 10000
        assert total("sluice_broker_out_bytes_total") > 10000
        assert total("sluice_replication_in_bytes_total") > 20000
        assert total("sluice_process_cpu_seconds_total") > 0
        assert total("sluice_metrics_silent_owners") == 0
        with open(os.path.join(ROOT, "docs", "metrics.md")) as docs:
            rows = set(re.findall(r"`(sluice_\w+)`", docs.read()))
        for node in cluster.nodes.values():
            served = set(re.findall(r"^# TYPE (\S+) ", page(node, "/metrics"), re.M))
            assert len(served) > 10 and served <= rows, served - rows
        assert "serving" in page(cluster.nodes[1], "/healthz")
        cluster.kill(3)
        wait_until(lambda: "sluice_controller_fenced_brokers 1\n" in
                   page(cluster.nodes[101], "/metrics"), 60, "a fenced broker")


if __name__ == "__main__":
    run([flags_are_explained_and_mistakes_named,
         a_flag_file_holds_what_the_command_line_would,
         an_address_that_is_taken_is_refused_before_anything_changes,
         signals_stop_it_cleanly_and_a_second_one_at_once,
         threads_have_the_real_time_priority_that_was_asked_for,
         metrics_tell_what_a_node_does])
