"""The addresses of the REST API."""

from __future__ import annotations

from sandbox.rest import changed, collections, composite, describe, limits, queries, recent, records, search, tree
from sandbox.route import DATA, Route, open_route

ROUTES = [
    open_route("GET", "/services/data", describe.versions),
    Route("GET", DATA, describe.resources),
    Route("GET", f"{DATA}/limits", limits.limits),
    Route("GET", f"{DATA}/limits/recordCount", limits.record_count),
    Route("GET", f"{DATA}/query", queries.query),
    Route("GET", f"{DATA}/queryAll", queries.query_all),
    Route("GET", f"{DATA}/tooling/query", queries.tooling_query),
    Route("GET", f"{DATA}/search", search.search),
    Route("GET", f"{DATA}/parameterizedSearch", search.parameterized),
    Route("POST", f"{DATA}/parameterizedSearch", search.parameterized_by_body),
    Route("GET", f"{DATA}/query/{{locator}}", queries.query_more),
    Route("GET", f"{DATA}/queryAll/{{locator}}", queries.query_more),
    Route("GET", f"{DATA}/recent", recent.recent),
    Route("GET", f"{DATA}/sobjects", describe.global_describe),
    Route("GET", f"{DATA}/sobjects/{{object}}", describe.basic),
    Route("POST", f"{DATA}/sobjects/{{object}}", records.create),
    Route("GET", f"{DATA}/sobjects/{{object}}/describe", describe.describe),
    Route("GET", f"{DATA}/sobjects/{{object}}/updated", changed.updated),
    Route("GET", f"{DATA}/sobjects/{{object}}/deleted", changed.deleted),
    Route("GET", f"{DATA}/sobjects/{{object}}/{{id}}", records.retrieve),
    Route("PATCH", f"{DATA}/sobjects/{{object}}/{{id}}", records.update),
    Route("DELETE", f"{DATA}/sobjects/{{object}}/{{id}}", records.delete),
    Route("POST", f"{DATA}/sobjects/{{object}}/Id", records.create_by_id),
    Route("GET", f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}", records.retrieve_by_key),
    Route("PATCH", f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}", records.upsert),
    Route("DELETE", f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}", records.delete_by_key),
    Route("POST", f"{DATA}/composite", composite.composite),
    Route("POST", f"{DATA}/composite/batch", composite.batch),
    Route("POST", f"{DATA}/composite/graph", composite.graph),
    Route("POST", f"{DATA}/composite/tree/{{object}}", tree.tree),
    Route("POST", f"{DATA}/composite/sobjects", collections.create),
    Route("PATCH", f"{DATA}/composite/sobjects", collections.update),
    Route("DELETE", f"{DATA}/composite/sobjects", collections.delete),
    Route("GET", f"{DATA}/composite/sobjects/{{object}}", collections.retrieve),
    Route("POST", f"{DATA}/composite/sobjects/{{object}}", collections.retrieve_many),
    Route("PATCH", f"{DATA}/composite/sobjects/{{object}}/{{field}}", collections.upsert),
]
