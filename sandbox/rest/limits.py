"""GET limits and limits/recordCount (REST API guide, "Limits" and "Record Count")."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rows.checks import NOT_COUNTED, RECORD_KB

HOUR = 3600
# The topics of platform events, as a LIKE pattern; those of change events do not count.
EVENT_TOPICS = "%__e"

# Name -> maximum of a Developer Edition org. What nothing in the sandbox uses stays at its maximum.
MAXIMA = {
    "ActiveScratchOrgs": 3,
    "AnalyticsExternalDataSizeMB": 40960,
    "ConcurrentAsyncGetReportInstances": 200,
    "ConcurrentSyncReportRuns": 20,
    "DailyAsyncApexExecutions": 250000,
    "DailyAsyncApexTests": 500,
    "DailyBulkApiBatches": 15000,
    "DailyBulkV2QueryFileStorageMB": 976562,
    "DailyBulkV2QueryJobs": 10000,
    "DailyDeliveredPlatformEvents": 10000,
    "DailyDurableGenericStreamingApiEvents": 10000,
    "DailyDurableStreamingApiEvents": 10000,
    "DailyGenericStreamingApiEvents": 10000,
    "DailyScratchOrgs": 6,
    "DailyStandardVolumePlatformEvents": 10000,
    "DailyStreamingApiEvents": 10000,
    "DailyWorkflowEmails": 100000,
    "DataStorageMB": 100000,
    "DurableStreamingApiConcurrentClients": 20,
    "FileStorageMB": 100000,
    "HourlyAsyncReportRuns": 1200,
    "HourlyDashboardRefreshes": 200,
    "HourlyDashboardResults": 5000,
    "HourlyDashboardStatuses": 999999999,
    "HourlyODataCallout": 1000,
    "HourlyPublishedPlatformEvents": 50000,
    "HourlyPublishedStandardVolumePlatformEvents": 1000,
    "HourlySyncReportRuns": 500,
    "HourlyTimeBasedWorkflow": 1000,
    "MassEmail": 5000,
    "MonthlyPlatformEventsUsageEntitlement": 0,
    "SingleEmail": 5000,
    "StreamingApiConcurrentClients": 20,
}


# Name -> the first version that has it, from the table of the REST API guide, "Limits".
SINCE = {"DailyBulkApiBatches": 49, "DailyBulkV2QueryFileStorageMB": 47, "DailyBulkV2QueryJobs": 47}


def limits(org: Org, call: Call) -> Answer:
    """GET limits: maximum and remainder of each limit."""
    bulk, used = org.bulk.limits, org.bulk.used()
    shown = {name: _shown(most, 0) for name, most in MAXIMA.items()}
    shown["DailyApiRequests"] = {**_shown(org.usage.most, org.usage.used()), **_by_app(org)}
    shown["DailyBulkApiBatches"] = _shown(bulk.batches, used.batches)
    shown["DailyBulkV2QueryJobs"] = _shown(bulk.query_jobs, used.query_jobs)
    shown["DataStorageMB"] = _storage(org)
    shown["HourlyPublishedPlatformEvents"] = _shown(
        MAXIMA["HourlyPublishedPlatformEvents"], org.bus.count(HOUR, EVENT_TOPICS)
    )
    shown["PermissionSets"] = {**_shown(1500, 0), "CreateCustom": _shown(1000, 0)}
    if call.version < SINCE["DailyBulkApiBatches"]:
        shown["DailyBulkApiRequests"] = shown["DailyBulkApiBatches"]
    for name, first in SINCE.items():
        if call.version < first:
            del shown[name]
    return Answer(200, dict(sorted(shown.items())))


def _shown(most: float, used: float) -> dict[str, Any]:
    return {"Max": int(most), "Remaining": max(0, int(most - used))}


def _by_app(org: Org) -> dict[str, Any]:
    """What connected apps have used. They have no allocations of their own: the org's stands for each."""
    used: Counter[str] = Counter()
    for app in org.apps:
        used[app.name] += org.usage.used_by(app.client_id)
    return {name: _shown(org.usage.most, count) for name, count in sorted(used.items()) if count}


def _storage(org: Org) -> dict[str, Any]:
    most = MAXIMA["DataStorageMB"] if org.policy.storage_mb is None else org.policy.storage_mb
    counts = org.store.counts()
    records = sum(live + deleted for name, (live, deleted) in counts.items() if name not in NOT_COUNTED)
    return _shown(most, records * RECORD_KB / 1024)


def limit_info(org: Org, call: Call) -> str:
    """The header Sforce-Limit-Info: usage of the org, and of the caller's app where the org knows several."""
    told = f"api-usage={org.usage.used()}/{org.usage.most}"
    app = org.apps.find(call.session.client_id) if call.session else None
    if app and len(list(org.apps)) > 1:
        printable = "".join(letter if " " <= letter <= "~" else "?" for letter in app.name)
        told += f"; per-app-api-usage={org.usage.used_by(app.client_id)}/{org.usage.most}(appName={printable})"
    return told


def record_count(org: Org, call: Call) -> Answer:
    """GET limits/recordCount: records per object; objects without records are left out."""
    wanted = {each.strip().lower() for each in call.query.get("sObjects", "").split(",") if each.strip()}
    seen, counts = org.permissions.schema_of(call.user), org.store.counts()
    listed = [
        {"count": live, "name": object_name}
        for object_name, (live, _) in counts.items()
        if live and seen.object_named(object_name) and (not wanted or object_name.lower() in wanted)
    ]
    return Answer(200, {"sObjects": listed})
