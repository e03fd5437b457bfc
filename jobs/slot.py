"""Across all organizations, one job at a time loads one object of one Salesforce org."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from connections.sessions import salesforce_session
from jobs.errors import Misconfigured
from jobs.leases import Lease
from jobs.models import Job


def take_slot(job: Job, lease: Lease) -> bool:
    """Become the one job that loads this object of this Salesforce org; False when another one is.

    Raises Misconfigured when the connection leads to another Salesforce org than the plan was made for, and what a
    login raises.
    """
    identity = salesforce_session(job.destination).identity
    org_id = identity.org_id
    if org_id != job.salesforce_org_id:
        # Nothing was sent: the plan was made for another Salesforce org and is void.
        raise Misconfigured(
            f"The connection '{job.destination}' now leads to the Salesforce org {org_id}, but the plan was made for "
            f"{job.salesforce_org_id}. Nothing was sent. Start the sync again to plan anew."
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
