"""What operators say in the model test: the mode, holds, who is listed, what is redriven and adopted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shared.ledger.operating import adopt, dead_rows, lift_hold, redrive, set_hold, set_mode
from shared.rules.facts import Hold, HoldKind, Mode, Side
from tests.chaos.deciding import ISSUERS, MOST_KEYS, STRANGER, Decided, apply, restore
from tests.chaos.model_cloud import Granted
from tests.chaos.model_schedule import Op
from tests.chaos.model_world import THEIRS
from tests.chaos.story import Story

MODES = (*[Mode.FULL] * 5, Mode.OBSERVE, Mode.PAUSE_TEARDOWN, Mode.PAUSE_ALL)


def _mode(story: Story, op: Op) -> bool:
    set_mode_to(story, MODES[op.a % len(MODES)])
    return True


def set_mode_to(story: Story, mode: Mode) -> None:
    """Somebody says what may act."""
    story.ledger.write(set_mode, mode, "somebody", story.turns.now)
    story.turns.said = replace(story.turns.said, mode=str(mode))
    story.say(f"mode {mode}")


def _hold(story: Story, op: Op) -> bool:
    """Somebody puts something on hold, or lifts it again."""
    key = story.keys[op.a % len(story.keys)]
    kind, name = [
        (HoldKind.GRANT, key.grant_id),
        (HoldKind.ECR, key.ecr_id),
        (HoldKind.ACCOUNT, key.instance_owner_uid),
    ][op.b % 3]
    if op.c % 3 == 0:
        return lift(story, kind, name)
    hold = Hold(kind, name, op.c % 2 == 0, "somebody", "a reason", story.turns.now)
    story.ledger.write(set_hold, hold, story.turns.now)
    others = {one for one in story.turns.said.holds if one[:2] != (str(kind), name)}
    story.turns.said = replace(story.turns.said, holds=frozenset({*others, (str(kind), name, hold.everything)}))
    story.say(f"hold {kind} {name}{' of everything' if hold.everything else ''}")
    return True


def lift(story: Story, kind: HoldKind, name: str) -> bool:
    """Somebody lifts a hold, where there is one."""
    released = story.ledger.write(lift_hold, kind, name, "somebody", story.turns.now)
    others = {one for one in story.turns.said.holds if one[:2] != (str(kind), name)}
    story.turns.said = replace(story.turns.said, holds=frozenset(others))
    story.say(f"lifted {kind} {name}")
    return released is not None


def decide(story: Story, decided: Decided) -> None:
    """Another version of the configuration is signed and applied, whatever became of the one before; of that the ledger gets back
    what it lost, since the record proves it.
    """
    if story.spoilt is not None:
        restore(story.ledger, story.spoilt)
    number = apply(story.ledger, decided, story.turns.now)
    story.decided, story.spoilt = decided, None
    story.stands(decided.version(number))
    story.say(f"configuration {number}: {decided}")


def decide_well(story: Story) -> None:
    """Everybody is listed again, as far as that is not so. What befell keys stays so."""
    well = replace(story.decided, unlisted=frozenset(), listed=True, shut=False)
    if well != story.decided or not story.versions[-1].believed:
        decide(story, well)


def _delist(story: Story, op: Op) -> bool:  # operations are alike
    """An account is taken off the list, or listed again."""
    decide(story, replace(story.decided, listed=not story.decided.listed))
    return True


def _issuer(story: Story, op: Op) -> bool:
    """An issuer is taken off the list, or listed again; or policy lets no lease in any more, or does again."""
    decided = story.decided
    if op.b % 3 == 0:
        decide(story, replace(decided, shut=not decided.shut))
    else:
        decide(story, replace(decided, unlisted=decided.unlisted ^ {ISSUERS[op.a % 3]}))
    return True


def _key(story: Story, op: Op) -> bool:
    """The key of an issuer goes bad, and it gets another one; or what was only retired turns out to be known to others."""
    issuer = ISSUERS[op.a % 3]
    *old, last = story.decided.keys_of(issuer)
    state = "retired" if op.b % 2 else "compromised"
    if op.c % 4 == 0 and "retired" in old:
        old = ["compromised" if one == "retired" else one for one in old]
    elif len(old) + 1 < MOST_KEYS:
        old, last = [*old, state], "active"
    else:
        return False
    story.counts[f"key {state}"] += 1
    decide(story, story.decided.with_keys(issuer, (*old, last)))
    return True


def _spoil(story: Story, op: Op) -> bool:
    """A version is applied that nobody can believe: a stranger signed it, or the ledger lost a piece of it. Or that is mended."""
    number, damaged = story.versions[-1].number, story.spoilt
    if not story.versions[-1].believed:
        if damaged is not None and op.b % 2:
            restore(story.ledger, damaged)
            story.decided, story.spoilt = damaged, None
            story.stands(damaged.version(number))
            story.say(f"configuration {number} can be read again")
        else:
            decide(story, story.decided)
        return True
    how = {"damaged": True} if op.b % 2 else {"signer": STRANGER}
    number = apply(story.ledger, story.decided, story.turns.now, **how)
    story.spoilt = story.decided if op.b % 2 else None
    story.stands(replace(story.versions[-1], number=number, believed=False))
    story.counts["configuration spoilt"] += 1
    story.say(f"configuration {number} cannot be believed")
    return True


def _redrive(story: Story, op: Op) -> bool:
    rows = story.ledger.read(dead_rows)
    if rows:
        row = rows[op.a % len(rows)]
        story.counts["redriven"] += story.ledger.write(redrive, row.key.grant_id, row.side, "somebody", story.turns.now)
    return bool(rows)


def _adopt(story: Story, op: Op) -> bool:
    known = sorted({key.instance_id for key, _ in story.foreign})
    key = story.keys[op.a % len(story.keys)]
    if known and op.c % 4:
        key = next(key for key in story.keys if key.instance_id == known[op.a % len(known)])
    did = False
    for side in [(Side.GRANT,), (Side.ASSOCIATE,), (Side.GRANT, Side.ASSOCIATE)][op.b % 3]:
        if key.ecr_id == THEIRS and side == Side.ASSOCIATE:
            continue
        if not story.ledger.write(adopt, key.grant_id, side, "somebody", story.turns.now):
            continue
        story.say(f"adopted the {side} side of {key.instance_id}")
        place = story.cloud.places[key]
        if side == Side.GRANT and place.granted.now is not None:
            place.granted.set(story.turns.now, Granted(ours=True))
        if side == Side.ASSOCIATE and place.link.now is not None:
            place.link.set(story.turns.now, replace(place.link.now, ours=True))
        story.counts["adopted"] += (key, side) in story.foreign
        if story.foreign.pop((key, side), None) is not None and side == Side.ASSOCIATE:
            story.adopted_links.add(key)
        did = True
    return did


SAID: dict[str, Callable[[Story, Op], bool]] = {
    "mode": _mode,
    "hold": _hold,
    "delist": _delist,
    "issuer": _issuer,
    "key": _key,
    "spoil": _spoil,
    "redrive": _redrive,
    "adopt": _adopt,
}
"""The operations that are an operator's word, by their names."""
