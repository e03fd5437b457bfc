"""The budget of a Salesforce org: one share of its limits, over all organizations, processes and kills.

    take -> a call is made -> told, perhaps -> ... -> settle

A call is made only where what is used, what anybody has reserved, and this call together stay within the share. Steps
of jobs reserve small blocks of calls, and give the rest back. A worker that is killed leaves a lease behind, which
counts as reserved until it expires, and as used from then on.

What an answer tells replaces what was counted. It may leave out calls of ours that Salesforce counted later. Those are
still reserved, or they were settled since the block of that request was reserved, which `OrgLimit.made` counts: so no
clocks are compared.

The last calls of the share are for looking whether there is room again: see `_LOOKS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
import uuid
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.utils import timezone

from connections.models import CallLease, Connection, LimitName, OrgLimit, UsedOfLimit
from connections.salesforce.errors import BudgetSpent, MisconfiguredError, PermanentError
from connections.salesforce.limits import limits
from connections.salesforce.session import Identity, LimitInfo, SalesforceSession

log = logging.getLogger("sfsync.budget")

# Calls are reserved so many at a time; fewer, the less is left.
_BLOCK = 10
# A block is used so long (seconds); what is left of it then is given back.
_USABLE = 60.0
# So many calls of the share, at most a tenth of it, are kept for looking whether there is room again. With pauses that
# grow up to two hours they last for a day, after which everything that was used has fallen out of the count.
_LOOKS = 20
_LONGEST_PAUSE = 7200.0
_DAY = timedelta(hours=24)
# `/limits` may be so old (REST API guide, "Limits").
_LAG = timedelta(minutes=5)
# Seconds until the calls that others have reserved, or the first answer about limits, are worth another look.
_OTHERS, _FIRST = 3.0, 5.0


@dataclasses.dataclass
class _Block:
    """Calls of one Salesforce org that a step has reserved.

    spent: those made since it was reserved. unseen: those of them made after the request whose answer `told` holds.
    lost: those without an answer, which Salesforce may still be about to count. made: `OrgLimit.made` when it was
    reserved. until: of the monotonic clock.
    """

    token: str
    left: int = 0
    spent: int = 0
    unseen: int = 0
    lost: int = 0
    made: int = 0
    until: float = 0.0
    told: tuple[LimitInfo, datetime] | None = None


_blocks: ContextVar[dict[str, _Block] | None] = ContextVar("salesforce_budget", default=None)


@contextlib.contextmanager
def spending() -> Iterator[None]:
    """Within this context, the calls of this thread's sessions are taken from the budgets of their Salesforce orgs."""
    blocks: dict[str, _Block] = {}
    reset = _blocks.set(blocks)
    try:
        yield
    finally:
        _blocks.reset(reset)
        for org_key, block in blocks.items():
            try:
                if block.left or block.spent or block.lost:
                    _exchange(org_key, block, 0)
            except DatabaseError as error:
                # Its lease expires.
                log.warning("What is left of a block of calls could not be given back: %s", error)


class OrgBudget:
    """The `CallBudget` of the sessions of jobs. Outside of `spending()` nothing is limited, as for anybody else."""

    def take(self, identity: Identity) -> None:
        """Spend one call. Raises BudgetSpent."""
        blocks = _blocks.get()
        if blocks is None:
            return
        block = blocks.setdefault(identity.org_key, _Block(uuid.uuid4().hex))
        if block.left < 1 or time.monotonic() > block.until:
            _exchange(identity.org_key, block, 1)
        block.left -= 1
        block.spent += 1
        block.unseen += 1

    def told(self, identity: Identity, info: LimitInfo, sent_at: datetime) -> None:
        """Remember what an answer told, until the block is settled."""
        block = (_blocks.get() or {}).get(identity.org_key)
        if block is not None:
            block.told, block.unseen = (info, sent_at), 0

    def lost(self, identity: Identity) -> None:
        """Salesforce may count the last call at any time to come: it stays reserved, until it is surely over."""
        block = (_blocks.get() or {}).get(identity.org_key)
        if block is not None and block.spent:
            block.lost += 1
            block.spent -= 1
            block.unseen -= 1


def have(identity: Identity, calls: int) -> None:
    """Reserve so many calls together, so that what needs them all is not begun without. Raises BudgetSpent."""
    blocks = _blocks.get()
    if blocks is None:
        return
    block = blocks.setdefault(identity.org_key, _Block(uuid.uuid4().hex))
    if block.left < calls or time.monotonic() > block.until:
        _exchange(identity.org_key, block, calls)


def use(identity: Identity, name: LimitName, amount: int) -> None:
    """Use up some of a limit other than that of calls, right before what uses it. Raises BudgetSpent."""
    with transaction.atomic():
        row = _held(identity.org_key, name)
        enough = row.max is None or row.used + amount <= share_of(row.max)
        if enough:
            row.used, row.taken_at = row.used + amount, timezone.now()
            row.save()
            _count(identity.org_key, name, amount)
    if not enough:
        calls = OrgLimit.objects.filter(org_key=identity.org_key, name=LimitName.CALLS).first()
        raise _spent(row, 0, calls.look_at if calls else None)


def share_of(most: int) -> int:
    """How much of a limit is ours."""
    return math.floor(most * settings.SFSYNC_ORG_SHARE_PERCENT / 100)


def _looks_of(most: int) -> int:
    return min(_LOOKS, share_of(most) // 10)


# --- the rows -------------------------------------------------------------------------------------------------------


def _held(org_key: str, name: LimitName) -> OrgLimit:
    """The row of a limit, kept from everybody else until the transaction around this has ended.

    SQLite has no locks of rows and needs none: its transactions write one after the other.
    """
    OrgLimit.objects.get_or_create(org_key=org_key, name=name)
    return OrgLimit.objects.select_for_update().get(org_key=org_key, name=name)


def _exchange(org_key: str, block: _Block, calls: int, *, looking: bool = False) -> None:
    """Settle a block, and reserve another one of at least so many calls. Raises BudgetSpent when there is no room."""
    with transaction.atomic():
        row = _held(org_key, LimitName.CALLS)
        _expire(row)
        _settle(row, block)
        reserved = _reserved(org_key)
        granted = _granted(row, reserved, calls, looking)
        block.left, block.made = granted, row.made
        block.until = time.monotonic() + _USABLE
        if granted:
            row.taken_at = timezone.now()
            if not looking and row.looks:
                # There is room, so nobody need wait long for the next look.
                soon = timezone.now() + timedelta(seconds=settings.SFSYNC_LIMITS_SECONDS)
                row.looks, row.look_at = 0, min(row.look_at or soon, soon)
            _lease(org_key, block.token, granted)
        row.save()
    if granted < calls:
        raise _spent(row, reserved, row.look_at)


def _lease(org_key: str, token: str, calls: int) -> None:
    expires = Now() + timedelta(seconds=settings.SFSYNC_LONGEST_CALL_SECONDS + 3 * _USABLE)
    CallLease.objects.create(org_key=org_key, token=token, calls=calls, expires_at=expires)


def _granted(row: OrgLimit, reserved: int, calls: int, looking: bool) -> int:
    """How many calls may be reserved: more than asked for where there is plenty, 0 when there is no room."""
    if not calls:
        return 0
    if row.max is None:
        # Somebody has to ask first; where the user may not ask, each answer tells.
        return calls if looking or row.told_at else 0
    room = share_of(row.max) - row.used - reserved
    if looking:
        return calls if room >= calls or _may_look_beyond(row) else 0
    room -= _looks_of(row.max)
    return max(calls, min(_BLOCK, room // 20)) if room >= calls else 0


def _may_look_beyond(row: OrgLimit) -> bool:
    """Others have used more than our share alone, or everything that was told has fallen out of the count by now."""
    above = row.max is not None and row.used > share_of(row.max)
    return above or row.told_at is None or row.told_at < timezone.now() - _DAY


def _expire(row: OrgLimit) -> None:
    """Whoever held these leases is gone; perhaps the calls were made, so they count as used."""
    gone = list(CallLease.objects.filter(org_key=row.org_key, expires_at__lt=Now()))
    for lease in gone:
        if CallLease.objects.filter(pk=lease.pk).delete()[0]:
            row.used += lease.calls
            row.made += lease.calls


def _settle(row: OrgLimit, block: _Block) -> None:
    """Turn a block into what it used, and take over what an answer told."""
    # An expired one was counted by somebody else already.
    ours = bool(CallLease.objects.filter(token=block.token).delete()[0])
    spent, unseen = (block.spent, block.unseen) if ours else (0, 0)
    if block.told is not None:
        info, sent_at = block.told
        used = info.used + (row.made - block.made) + unseen
        newer = (block.made, sent_at) >= (row.made_when_told, row.told_at or sent_at)
        row.used = used if newer or row.max is None else max(row.used + spent, used)
        if newer or row.max is None:
            row.max, row.told_at, row.made_when_told = info.max, sent_at, block.made
    else:
        row.used += spent
    row.made += spent
    _count(row.org_key, LimitName.CALLS, spent)
    if ours and block.lost:
        _lease(row.org_key, uuid.uuid4().hex, block.lost)
    block.left = block.spent = block.unseen = block.lost = 0
    block.told = None


def _reserved(org_key: str) -> int:
    return CallLease.objects.filter(org_key=org_key).aggregate(calls=Sum("calls"))["calls"] or 0


def _count(org_key: str, name: LimitName, amount: int) -> None:
    """Add to what we used today. Within the transaction that holds the limit's row."""
    if amount:
        today = datetime.now(UTC).date()
        day, _ = UsedOfLimit.objects.get_or_create(org_key=org_key, name=name, day=today)
        UsedOfLimit.objects.filter(pk=day.pk).update(used=F("used") + amount)


def _spent(row: OrgLimit, reserved: int, look_at: datetime | None) -> BudgetSpent:
    what = LimitName(row.name).label
    if row.max is None:
        return BudgetSpent(f"How many {what} this Salesforce org has left is being asked.", left=0, retry_after=1.0)
    share = share_of(row.max)
    left = max(0, share - row.used - reserved)
    aside = f" or set aside for calls under way ({reserved:,})" if reserved else ""
    in_seconds = (look_at - timezone.now()).total_seconds() if look_at else 0.0
    if reserved and row.used + _looks_of(row.max) < share:
        in_seconds = min(_OTHERS, in_seconds) if look_at else _OTHERS
    in_seconds = max(0.5, in_seconds)
    again = timezone.now() + timedelta(seconds=in_seconds)
    return BudgetSpent(
        f"{row.used + reserved:,} of {row.max:,} {what} of this Salesforce org are used{aside}, and its share is "
        f"{settings.SFSYNC_ORG_SHARE_PERCENT:g} %.",
        advice=f"Looks again at {again:%H:%M:%S} UTC.",
        left=left,
        retry_after=in_seconds,
    )


# --- asking Salesforce ----------------------------------------------------------------------------------------------


def refresh(session: SalesforceSession) -> None:
    """Ask Salesforce for its limits where nothing is known of them, or what is known is old. Raises SalesforceError."""
    org_key = session.identity.org_key
    rows = {row.name: row for row in OrgLimit.objects.filter(org_key=org_key)}
    old = timezone.now() - timedelta(seconds=settings.SFSYNC_LIMITS_SECONDS)
    told = [rows[name].told_at if name in rows else None for name in LimitName.values]
    if any(at is None or at < old for at in told):
        look(session)


def look(session: SalesforceSession) -> bool:
    """Ask Salesforce for its limits, if it is time to. Whether it was asked. Raises SalesforceError."""
    identity = session.identity
    blocks = _blocks.get()
    if blocks is None or not _claim_look(identity.org_key):
        return False
    block = blocks.setdefault(identity.org_key, _Block(uuid.uuid4().hex))
    try:
        _exchange(identity.org_key, block, 1, looking=True)
    except BudgetSpent:
        return False
    sent_at = datetime.now(UTC)
    try:
        answer: Mapping[str, Any] = limits(session)
    except (PermanentError, MisconfiguredError) as error:
        # It takes a permission of its own ("View Setup and Configuration"); without it, each answer tells of the calls.
        log.warning("The limits of the Salesforce org cannot be read: %s", error)
        answer = {}
    headers_told = block.told is not None
    _exchange(identity.org_key, block, 0)
    for name in LimitName:
        if name != LimitName.CALLS or not headers_told:
            _tell(identity.org_key, name, answer.get(name), sent_at)
    return True


def _claim_look(org_key: str) -> bool:
    """Become the one who asks; of several, one does, and while there is no room ever more seldom."""
    now = timezone.now()
    with transaction.atomic():
        row = _held(org_key, LimitName.CALLS)
        if row.look_at is not None and row.look_at > now:
            return False
        pause = settings.SFSYNC_LIMITS_SECONDS * 1.5 ** min(row.looks, 20)
        row.look_at = now + timedelta(seconds=_FIRST if row.max is None else min(_LONGEST_PAUSE, pause))
        row.looks += 1
        row.save()
    return True


def _tell(org_key: str, name: LimitName, entry: Any, sent_at: datetime) -> None:
    """Take over what `/limits` says of one limit."""
    with transaction.atomic():
        row = _held(org_key, name)
        row.told_at = sent_at
        if isinstance(entry, Mapping) and "Max" in entry and "Remaining" in entry:
            used = int(entry["Max"]) - int(entry["Remaining"])
            # It may leave out what we used in the last minutes.
            sure = row.taken_at is None or row.taken_at < sent_at - _LAG
            row.max, row.used = int(entry["Max"]), used if sure else max(row.used, used)
        row.save()


# --- showing --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a limit of a Salesforce org stands. max: None when Salesforce has not told. left: of our share."""

    name: LimitName
    max: int | None
    share: int | None
    used: int
    reserved: int
    left: int | None
    told_at: datetime | None
    by_us: tuple[tuple[date, int], ...]

    @property
    def label(self) -> str:
        """What is limited, in words."""
        return str(self.name.label)


def standing(org_key: str, name: LimitName, days: int = 7) -> Standing:
    """How a limit stands, with what we used of it on each of the last days."""
    row = OrgLimit.objects.filter(org_key=org_key, name=name).first() or OrgLimit(org_key=org_key, name=name)
    reserved = _reserved(org_key) if name == LimitName.CALLS else 0
    share = None if row.max is None else share_of(row.max)
    left = None if share is None else max(0, share - row.used - reserved)
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    used = UsedOfLimit.objects.filter(org_key=org_key, name=name, day__gte=since).order_by("-day")
    by_us = tuple((each.day, each.used) for each in used)
    return Standing(name, row.max, share, row.used, reserved, left, row.told_at, by_us)


def standings(connection: Connection) -> list[Standing]:
    """How the limits of a connection's Salesforce org stand; none before a job has logged in there."""
    key = connection.salesforce_org_key
    return [standing(key, name) for name in LimitName] if key else []


def left(org_key: str, name: LimitName) -> int | None:
    """How much of our share of a limit is left for jobs; None when that is not known.

    What this thread has reserved is given back before, so that it counts as left.
    """
    block = (_blocks.get() or {}).get(org_key)
    if block is not None and (block.left or block.spent or block.lost):
        _exchange(org_key, block, 0)
    found = standing(org_key, name, days=1)
    if found.left is None or found.max is None:
        return None
    return max(0, found.left - (_looks_of(found.max) if name == LimitName.CALLS else 0))


def must_fit(org_key: str, name: LimitName, amount: int) -> None:
    """Raises BudgetSpent when so much is not left now, although it can be some other time."""
    there = left(org_key, name)
    if there is None or amount <= there:
        return
    row = OrgLimit.objects.get(org_key=org_key, name=name)
    most = share_of(row.max or 0) - (_looks_of(row.max or 0) if name == LimitName.CALLS else 0)
    if amount <= most:
        calls = OrgLimit.objects.filter(org_key=org_key, name=LimitName.CALLS).first()
        spent = _spent(row, _reserved(org_key) if name == LimitName.CALLS else 0, calls.look_at if calls else None)
        needs = f"About {amount:,} {LimitName(name).label} are needed."
        raise BudgetSpent(
            f"{spent.what_happened} {needs}", advice=spent.advice, left=there, retry_after=spent.retry_after or 1.0
        )
