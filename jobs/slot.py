"""Across all organizations, one job at a time loads one object of one Salesforce org."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from connections.salesforce.errors import MisconfiguredError
from connections.salesforce.limits import limits
from connections.salesforce.session import Identity
from connections.sessions import salesforce_session
from jobs import approval
from jobs.errors import Misconfigured
from jobs.leases import Lease
from jobs.models import Job


def take_slot(job: Job, lease: Lease) -> bool:
    """Become the one job that loads this object of this Salesforce org; False when another one is.

    Raises Misconfigured when the connection leads to another Salesforce org than the plan was made for, or when
    something was changed that makes the job's approval void, and what a login raises.
    """
    rest = "What the canary sent counts, the rest was not sent." if approval.was_sent(job) else "Nothing was sent."
    if job.approved_by and (void := approval.why_void(job)):
        raise Misconfigured(f"{void} So the approval is void. {rest} Start the sync again to plan anew.")
    identity = _identity(job)
    org_id = identity.org_id
    if org_id != job.salesforce_org_id:
        # The plan was made for another Salesforce org and is void.
        raise Misconfigured(
            f"The connection '{job.destination}' now leads to the Salesforce org {org_id}, but the plan was made for "
            f"{job.salesforce_org_id}. {rest} Start the sync again to plan anew."
        )
    slot = f"{identity.org_key}:{job.spec['object'].lower()}"
    try:
        with transaction.atomic():
            lease.save(load_slot=slot, reason="")
    except IntegrityError:
        other = Job.all_objects.filter(load_slot=slot, organization_id=job.organization_id).first()
        # Another organization may load it, too; which one is nobody's business here.
        what = f"{other} to end" if other else "its turn"
        lease.save(reason=f"Waits for {what}: one job at a time loads {job.spec['object']} of a Salesforce org.")
        return False
    # From now on workers take its batches.
    job.load_slot = slot
    return True


def _identity(job: Job) -> Identity:
    """Where the connection leads now: for a job that was approved, by an answer of this moment.

    A worker may be logged in since before the approval. Should another Salesforce org stand there by now, then the
    first call of this session is refused and its next login tells; better that this call holds no rows.
    """
    session = salesforce_session(job.destination)
    if job.approved_by:
        try:
            limits(session)
        except MisconfiguredError:
            if not session.has_moved:
                raise
            session = salesforce_session(job.destination)
    return session.identity
