"""The faults. Each case gets a Rig whose clients are at work and returns when
the fault has lasted as long as it should; the rig then heals and judges.

`progress()` in a fault is the requirement that the cluster goes on: it stands
wherever a quorum and enough in-sync replicas are left.
"""
from machines import CLIENTS
from rig import BROKERS, CONTROLLERS, DEADLINE_S, PROGRESS, wait_until

ALL = BROKERS + CONTROLLERS
RESTARTS = 5
LEADER_KILLS = 50
RESETS = 20
DELAY_MS = 40
SLOW_BYTES_PER_S = 4000

CASES = {}


def case(name=None, **options):
    """options: partitions, proxied, cuts (needs namespaces), down (while it
    lasts nothing goes on, or no controller), long (many minutes)."""
    def add(body):
        CASES[name or body.__name__] = (body, options)
        return body
    return add


# ---- processes

def on_processes(name, whom, do, **options):
    def body(rig):
        do(rig, whom(rig))
        rig.progress()
    body.__doc__ = "%s, then go on without it" % name
    case(name, **options)(body)


VICTIMS = {
    "leader": lambda rig: rig.leader(),
    "follower": lambda rig: rig.follower(),
    "standby_controller": lambda rig: rig.standby_controller(),
    "active_controller": lambda rig: rig.active_controller(),
}
for _verb, _do in (("kill", lambda rig, v: rig.kill(v)),
                   ("term", lambda rig, v: rig.terminate(v)),
                   ("pause", lambda rig, v: rig.pause(v))):
    for _role, _whom in VICTIMS.items():
        # One partition: the follower is nothing else.
        on_processes("%s_%s" % (_verb, _role), _whom, _do,
                     **({"partitions": 1} if _role == "follower" else {}))


def restart_loop(rig, victim):
    for _ in range(RESTARTS):
        rig.kill(victim)
        rig.cluster.start(victim)
        rig.progress(PROGRESS // RESTARTS)


@case()
def restart_loop_broker(rig):
    """The same broker is killed and started again and again."""
    restart_loop(rig, rig.leader())


@case()
def restart_loop_controller(rig):
    """The active controller is, whichever it is."""
    for _ in range(RESTARTS):
        victim = rig.active_controller()
        rig.kill(victim)
        rig.cluster.start(victim)
        rig.progress(PROGRESS // RESTARTS)


@case(long=True)
def fifty_leader_kills(rig):
    """Whoever leads, again and again; the next when all is whole again."""
    for _ in range(LEADER_KILLS):
        rig.kill(rig.leader())
        rig.progress(PROGRESS // LEADER_KILLS)
        rig.start_again()
        rig.whole()


@case()
def rolling_kill(rig):
    """Each node in turn; the next when all is whole again."""
    for victim in ALL:
        rig.kill(victim)
        rig.progress(PROGRESS // len(ALL) + 1)
        rig.start_again()
        rig.whole()


@case()
def pause_and_kill_leader(rig):
    """It dies without having woken up."""
    victim = rig.leader()
    rig.pause(victim)
    rig.progress()
    rig.kill(victim)
    rig.start_again()


@case(down=True)
def swizzle(rig):
    """F78: all are paused one by one and woken up in another order."""
    order = list(ALL)
    rig.random.shuffle(order)
    for victim in order:
        rig.pause(victim)
    rig.random.shuffle(order)
    for victim in order:
        rig.resume(victim)
    rig.progress()


@case(down=True)
def kill_all(rig):
    """Every process at once, twice."""
    for _ in range(2):
        rig.kill(*ALL)
        rig.start_again()
        rig.progress()


@case(down=True)
def kill_all_brokers(rig):
    rig.kill(*BROKERS)
    rig.start_again()
    rig.progress()


@case(down=True)
def kill_all_controllers(rig):
    """F77: brokers go on as long as no ISR has to change."""
    rig.kill(*CONTROLLERS)
    rig.progress()


@case(down=True)
def pause_two_controllers(rig):
    """No quorum: brokers go on all the same."""
    rig.pause(*CONTROLLERS[:2])
    rig.progress()


# ---- disks that hang

@case(partitions=1)
def hung_sync_follower(rig):
    """It leaves the ISR, and the others go on."""
    rig.hang_syncs(rig.follower())
    rig.progress()


@case()
def hung_sync_leader(rig):
    """It is demoted, and others lead what it led."""
    rig.hang_syncs(rig.leader())
    rig.progress()


@case()
def hung_sync_active_controller(rig):
    """And a leader dies: its quorum commits the election without it, or
    somebody else becomes active."""
    rig.hang_syncs(rig.active_controller())
    rig.kill(rig.leader())
    rig.progress()


@case()
def hung_sync_standby_controller(rig):
    rig.hang_syncs(rig.standby_controller())
    rig.kill(rig.leader())
    rig.progress()


# ---- cut links

@case(cuts=True)
def isolate_leader(rig):
    """From every node, both ways; clients still reach it."""
    victim = rig.leader()
    for other in ALL:
        if other != victim:
            rig.machines.cut_both(victim, other)
    rig.progress()


@case(cuts=True)
def isolate_follower(rig):
    victim = rig.follower()
    for other in ALL:
        if other != victim:
            rig.machines.cut_both(victim, other)
    rig.progress()


@case(cuts=True)
def isolate_active_controller(rig):
    victim = rig.active_controller()
    for other in ALL:
        if other != victim:
            rig.machines.cut_both(victim, other)
    rig.progress()


@case(cuts=True)
def deaf_leader(rig):
    """It is heard by all and hears no node."""
    victim = rig.leader()
    for other in ALL:
        if other != victim:
            rig.machines.cut(other, victim)
    rig.progress()


@case(cuts=True)
def mute_leader(rig):
    """It hears all and no node hears it."""
    victim = rig.leader()
    for other in ALL:
        if other != victim:
            rig.machines.cut(victim, other)
    rig.progress()


@case(cuts=True)
def deaf_active_controller(rig):
    """Its heartbeats arrive, so nobody runs for its place; it must see itself
    that nobody answers."""
    victim = rig.active_controller()
    for other in ALL:
        if other != victim:
            rig.machines.cut(other, victim)
    rig.progress()


@case(cuts=True)
def mute_active_controller(rig):
    victim = rig.active_controller()
    for other in ALL:
        if other != victim:
            rig.machines.cut(victim, other)
    rig.progress()


@case(cuts=True)
def leader_without_one_follower(rig):
    """Both ways between two brokers; controllers see both."""
    rig.machines.cut_both(rig.leader(), rig.follower())
    rig.progress()


@case(cuts=True)
def leader_not_heard_by_one_follower(rig):
    rig.machines.cut(rig.leader(), rig.follower())
    rig.progress()


@case(cuts=True)
def follower_not_heard_by_leader(rig):
    rig.machines.cut(rig.follower(), rig.leader())
    rig.progress()


@case(cuts=True)
def leader_without_controllers(rig):
    """It replicates, and its session runs out."""
    victim = rig.leader()
    for other in CONTROLLERS:
        rig.machines.cut_both(victim, other)
    rig.progress()


@case(cuts=True)
def brokers_without_active_controller(rig):
    """It keeps its quorum and hears no broker: it hands its role on before it
    would fence them all."""
    victim = rig.active_controller()
    for other in BROKERS:
        rig.machines.cut_both(victim, other)
    wait_until(lambda: rig.active_controller() not in (None, victim),
               DEADLINE_S, "another active controller")
    rig.progress()


@case(cuts=True)
def bridge(rig):
    """Two halves that only one broker and one controller see both of."""
    left, right = (BROKERS[0], CONTROLLERS[0]), (BROKERS[2], CONTROLLERS[2])
    for one in left:
        for other in right:
            rig.machines.cut_both(one, other)
    rig.progress()


@case(cuts=True)
def split_in_half(rig):
    """Two nodes of each kind here, one of each there."""
    for one in (BROKERS[0], CONTROLLERS[0]):
        for other in BROKERS[1:] + CONTROLLERS[1:]:
            rig.machines.cut_both(one, other)
    rig.progress()


@case(cuts=True)
def ring(rig):
    """Each controller has lost one other, one way, round in a ring. Brokers
    hear them all, and each other."""
    for one, other in zip(CONTROLLERS, CONTROLLERS[1:] + CONTROLLERS[:1]):
        rig.machines.cut(one, other)
    rig.progress()


@case(cuts=True)
def answers_lost_on_the_way_to_clients(rig):
    """What is stored is not heard of and sent again."""
    victim = rig.leader()
    others = rig.not_led_by(victim)
    rig.machines.cut(victim, CLIENTS)
    rig.progress(among=others)
    rig.machines.heal()
    rig.progress()


# ---- bad links, by the proxy

@case(proxied=True)
def delay_everywhere(rig):
    rig.proxy.rules({"mode": "delay", "ms": DELAY_MS})
    rig.progress()


@case(proxied=True)
def delay_to_leader(rig):
    rig.proxy.rules({"name": rig.leader(), "mode": "delay", "ms": 5 * DELAY_MS})
    rig.progress()


@case(proxied=True)
def half_open_leader(rig):
    """What is sent to it vanishes, connections stay; they never come back. No
    client reaches what it leads."""
    victim = rig.leader()
    others = rig.not_led_by(victim)
    rig.proxy.rules({"name": victim, "mode": "half_open"})
    rig.progress(among=others)


@case(proxied=True)
def half_open_active_controller(rig):
    rig.proxy.rules({"name": rig.active_controller(), "mode": "half_open"})
    rig.progress()


@case(proxied=True)
def held_active_controller(rig):
    """Its connections stand still and go on later, with all that was said."""
    rig.proxy.rules({"name": rig.active_controller(), "mode": "hold"})
    rig.progress()


@case(proxied=True)
def resets_everywhere(rig):
    for _ in range(RESETS):
        rig.proxy.reset()
        rig.progress(PROGRESS // RESETS, each=0)
    rig.progress(1000)


@case(proxied=True)
def trickle_to_follower(rig):
    """What is sent to it and what it answers crawls, and must not hold up what
    others lead."""
    victim = rig.follower()
    others = rig.not_led_by(victim)
    rig.proxy.rules({"name": victim, "mode": "trickle",
                     "bytes_per_s": SLOW_BYTES_PER_S})
    rig.progress(among=others)


@case(proxied=True)
def trickle_to_active_controller(rig):
    rig.proxy.rules({"name": rig.active_controller(), "mode": "trickle",
                     "bytes_per_s": SLOW_BYTES_PER_S})
    rig.progress()
