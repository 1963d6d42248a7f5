"""Faults in combination, drawn from a seed.

A round harms one broker and, half of the time, one controller, each in a way
of its own, while all links may be bad; a quorum and two replicas are left, so
progress is required. Between rounds all is healed; one round in three does not
wait until it is whole again, so the next may meet a broker that is not back in
sync: then only what comes after the healing is required. Now and then every
process is killed at once.
"""
from rig import BROKERS, CONTROLLERS

ALL = BROKERS + CONTROLLERS

def kill(rig, victim):
    rig.kill(victim)


def pause(rig, victim):
    rig.pause(victim)


def bounce(rig, victim):
    rig.kill(victim)
    rig.cluster.start(victim)


def restart(rig, victim):
    rig.terminate(victim)
    rig.cluster.start(victim)


def hang_syncs(rig, victim):
    rig.hang_syncs(victim)


def isolate(rig, victim):
    for other in ALL:
        if other != victim:
            rig.machines.cut_both(victim, other)


def deafen(rig, victim):
    for other in ALL:
        if other != victim:
            rig.machines.cut(other, victim)


def mute(rig, victim):
    for other in ALL:
        if other != victim:
            rig.machines.cut(victim, other)


def cut_one_link(rig, victim):
    others = [n for n in ALL if n != victim]
    rig.machines.cut(victim, rig.random.choice(others))


def half_open(rig, victim):
    return {"name": victim, "mode": "half_open"}


def hold(rig, victim):
    return {"name": victim, "mode": "hold"}


def delay(rig, victim):
    return {"name": victim, "mode": "delay", "ms": rig.random.choice([5, 50, 300])}


PROCESS = [kill, pause, bounce, restart, hang_syncs]
LINK = [isolate, deafen, mute, cut_one_link]
PROXY = [half_open, hold, delay]


def harm(rig, victim, rules, told):
    choices = PROCESS + (LINK if rig.machines.can_cut and rig.proxy is None else [])
    choices += PROXY if rig.proxy is not None else []
    fault = rig.random.choice(choices)
    told.append("%s %d" % (fault.__name__, victim))
    rule = fault(rig, victim)
    if rule is not None:
        rules.append(rule)
        rig.proxy.rules(*rules)
    return fault


def one_round(rig, strict):
    told, rules = [], []
    if rig.proxy is not None and rig.random.random() < 0.3:
        rules.append({"mode": "delay", "ms": 10})
        rig.proxy.rules(*rules)
        told.append("all links slow")
    victim = rig.random.choice(BROKERS)
    among = rig.not_led_by(victim) if strict else None
    fault = harm(rig, victim, rules, told)
    if fault not in (half_open, hold):
        among = None  # others lead what it led; those leave it where it is
    if rig.random.random() < 0.5:
        harm(rig, rig.random.choice(CONTROLLERS), rules, told)
    print("  " + ", ".join(told) + ("" if strict else " (while not whole)"), flush=True)
    if strict:
        rig.progress(among=among)
    if rig.proxy is not None and rig.random.random() < 0.3:
        rig.proxy.reset()


def combined(rig):
    """Seeded combinations of faults on processes and links."""
    strict = True
    for _ in range(rig.rounds):
        if rig.random.random() < 0.1:
            print("  kill all", flush=True)
            rig.kill(*[n.id for n in rig.cluster.nodes.values() if n.alive])
        else:
            one_round(rig, strict)
        rig.heal()
        strict = rig.random.random() < 0.67
        if strict:
            rig.whole()
            rig.lead_evenly()  # so that each victim is the leader of something
        rig.progress(1000)


def combined_proxied(rig):
    """The same on processes and bad links, behind the proxy."""
    combined(rig)
