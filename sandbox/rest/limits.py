"""GET limits and limits/recordCount (REST API guide, "Limits" and "Record Count")."""

from __future__ import annotations

from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org

# Name -> maximum of a Developer Edition org. Only the API and bulk limits are counted down here.
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
    "SingleEmail": 5000,
    "StreamingApiConcurrentClients": 20,
}


def limits(org: Org, call: Call) -> Answer:
    """GET limits: maximum and remainder of each limit."""
    maximum = org.settings.daily_api_requests
    answer: dict[str, Any] = {"DailyApiRequests": {"Max": maximum, "Remaining": max(0, maximum - org.api_requests)}}
    spent, limits_of_bulk = org.bulk.used(), org.bulk.limits
    used = {"DailyBulkApiBatches": spent.batches, "DailyBulkV2QueryJobs": spent.query_jobs}
    bulk = {"DailyBulkApiBatches": limits_of_bulk.batches, "DailyBulkV2QueryJobs": limits_of_bulk.query_jobs}
    for each, most in {**MAXIMA, **bulk}.items():
        answer[each] = {"Max": most, "Remaining": max(0, most - used.get(each, 0))}
    return Answer(200, dict(sorted(answer.items())))


def record_count(org: Org, call: Call) -> Answer:
    """GET limits/recordCount: records per object; objects without records are left out."""
    wanted = {each.strip().lower() for each in call.query.get("sObjects", "").split(",") if each.strip()}
    counts = org.store.counts()
    listed = [
        {"count": live, "name": object_name}
        for object_name, (live, _) in counts.items()
        if live and (not wanted or object_name.lower() in wanted)
    ]
    return Answer(200, {"sObjects": listed})
