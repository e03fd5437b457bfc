"""What the org says about itself: versions, resources, global describe and object describe (REST API guide)."""

from __future__ import annotations

from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import FIRST_VERSION, LAST_VERSION, Org
from sandbox.rest.recent import recent_of
from sandbox.rows.definitions import RecordType, record_types
from sandbox.rows.policy import on_delete
from sandbox.schema import ObjectType, Schema
from sandbox.wire import not_found

# Facts of an object that a schema file may override, as most standard objects have them.
OBJECT_DEFAULTS: dict[str, Any] = {
    "activateable": False,
    "associateEntityType": None,
    "associateParentEntity": None,
    "createable": True,
    "custom": False,
    "customSetting": False,
    "deepCloneable": False,
    "deletable": True,
    "deprecatedAndHidden": False,
    "feedEnabled": False,
    "hasSubtypes": False,
    "isInterface": False,
    "isSubtype": False,
    "keyPrefix": None,
    "label": "",
    "labelPlural": "",
    "layoutable": True,
    "mergeable": False,
    "mruEnabled": True,
    "name": "",
    "queryable": True,
    "replicateable": True,
    "retrieveable": True,
    "searchable": True,
    "triggerable": True,
    "undeletable": True,
    "updateable": True,
}
ONLY_IN_DESCRIBE: dict[str, Any] = {
    "actionOverrides": [],
    "compactLayoutable": True,
    "defaultImplementation": None,
    "extendedBy": None,
    "extendsInterfaces": None,
    "implementedBy": None,
    "implementsInterfaces": None,
    "listviewable": None,
    "lookupLayoutable": None,
    "namedLayoutInfos": [],
    "networkScopeFieldName": None,
    "searchLayoutable": True,
    "sobjectDescribeOption": "FULL",
    "supportedScopes": [],
}
# What an object's `urls` lead to, below its own address. Schema files name those that an object has not
# (`noUrls`), and what it has beyond them (`moreUrls`).
URLS = {
    "compactLayouts": "/describe/compactLayouts",
    "rowTemplate": "/{ID}",
    "approvalLayouts": "/describe/approvalLayouts",
    "listviews": "/listviews",
    "describe": "/describe",
    "quickActions": "/quickActions",
    "layouts": "/describe/layouts",
    "sobject": "",
}
EVENT_URLS = {"rowTemplate": "/{ID}", "eventSchema": "/eventSchema", "describe": "/describe", "sobject": ""}
# Children recorded as both: they go along with their parent while they are drafts, and hold it once they are active.
UNTIL_ACTIVE = frozenset({("Contract", "AccountId"), ("Order", "AccountId")})
SEASONS = ("Winter", "Spring", "Summer")


def version_label(version: int) -> str:
    """The release name of an API version: Winter '11 is 20.0, and each year has three."""
    years, season = divmod(version - 20, 3)
    return f"{SEASONS[season]} '{11 + years}"


def versions(org: Org, call: Call) -> Answer:
    """GET /services/data: ascending, since some clients take the last."""
    listed = range(FIRST_VERSION, LAST_VERSION + 1)
    return Answer(
        200, [{"label": version_label(v), "url": f"/services/data/v{v}.0", "version": f"{v}.0"} for v in listed]
    )


def resources(org: Org, call: Call) -> Answer:
    """GET /services/data/vXX.0: the resources of a version."""
    names = ("composite", "limits", "parameterizedSearch", "query", "queryAll", "recent", "search", "sobjects")
    listed: dict[str, str] = {each: f"{call.data_url}/{each}" for each in names}
    listed["jobs"] = f"{call.data_url}/jobs"
    listed["identity"] = f"{call.base_url}/id/{org.org_id}/{call.user.id}"
    return Answer(200, listed)


def find_described(org: Org, call: Call) -> ObjectType:
    """The object or platform event the path names, as the user sees it, or 404."""
    return org.schema.event_named(call.arguments["object"]) or find_object(org, call)


def find_object(org: Org, call: Call) -> ObjectType:
    """The object the path names, as the user sees it, or 404."""
    found = org.permissions.schema_of(call.user).object_named(call.arguments["object"])
    if found is None:
        raise not_found()
    return found


def _summary(each: ObjectType, data_url: str) -> dict[str, Any]:
    """The entry of an object in the global describe: 28 keys."""
    facts = {**OBJECT_DEFAULTS, **{key: value for key, value in each.facts.items() if key in OBJECT_DEFAULTS}}
    facts.update(name=each.name, keyPrefix=each.key_prefix, custom=each.name.endswith(("__c", "__e")))
    facts["label"] = each.facts.get("label", each.name.removesuffix("__c").removesuffix("__e").replace("_", " "))
    facts["labelPlural"] = each.facts.get("labelPlural", facts["label"] + "s")
    base = f"{data_url}/sobjects/{each.name}"
    left_out = [*each.facts.get("noUrls", []), *([] if facts["layoutable"] else ["layouts"])]
    urls = EVENT_URLS if each.name.endswith("__e") else {**URLS, **each.facts.get("moreUrls", {})}
    facts["urls"] = {key: base + rest for key, rest in urls.items() if key not in left_out}
    return facts


def global_describe(org: Org, call: Call) -> Answer:
    """GET sobjects. Nothing where the caller has it (If-Modified-Since)."""
    dated = org.schema_dates.check(call, "all")
    known = [*org.permissions.schema_of(call.user), *org.schema.events.values()]
    listed = [_summary(each, call.data_url) for each in sorted(known, key=lambda each: str(each.name))]
    return Answer(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed}, dated)


def basic(org: Org, call: Call) -> Answer:
    """GET sobjects/X: the summary, and the records the user has used last."""
    target = find_described(org, call)
    used = recent_of(org, call, target)
    return Answer(200, {"objectDescribe": _summary(target, call.data_url), "recentItems": used})


def describe(org: Org, call: Call) -> Answer:
    """GET sobjects/X/describe: every field with its 57 keys. Nothing where the caller has it (If-Modified-Since)."""
    each = find_described(org, call)
    dated = org.schema_dates.check(call, each.name)
    summary = _summary(each, call.data_url)
    facts = {**ONLY_IN_DESCRIBE, **{key: value for key, value in each.facts.items() if key in ONLY_IN_DESCRIBE}}
    base = f"{call.data_url}/sobjects/{each.name}"
    ui = {
        "uiDetailTemplate": f"{call.base_url}/{{ID}}",
        "uiEditTemplate": f"{call.base_url}/{{ID}}/e",
        "uiNewRecord": f"{call.base_url}/{each.key_prefix}/e",
    }
    answer = {
        **summary,
        **facts,
        "childRelationships": _children(org.permissions.schema_of(call.user), each),
        "fields": [one.document for one in each.fields.values()],
        "recordTypeInfos": record_type_infos(each, base),
        "urls": {**summary["urls"], **ui},
    }
    return Answer(200, dict(sorted(answer.items())), dated)


def record_type_infos(each: ObjectType, base: str) -> list[dict[str, Any]]:
    """The object's own record types, and Master, which is the default where no other is.

    base: the address of the object.
    """
    master = RecordType("012000000000000AAA", "Master", "Master", True, False, False, {})
    own = record_types(each)
    return [
        {
            "active": one.active,
            "available": one.active,
            "defaultRecordTypeMapping": one.default or (one is master and not any(other.default for other in own)),
            "developerName": one.developer_name,
            "master": one is master,
            "name": one.label,
            "recordTypeId": one.id,
            "urls": {"layout": f"{base}/describe/layouts/{one.id}"},
        }
        for one in [*own, master]
    ]


def _children(schema: Schema, parent: ObjectType) -> list[dict[str, Any]]:
    """The lookups of all objects that point to this one; the recordings leave out what a merged record points to."""
    return [
        {
            "cascadeDelete": on_delete(child, one) == "cascade" or (child.name, one.name) in UNTIL_ACTIVE,
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": one.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": one.child_relationship,
            "restrictedDelete": on_delete(child, one) == "restrict" or (child.name, one.name) in UNTIL_ACTIVE,
        }
        for child in schema
        for one in child.fields.values()
        if parent.name in one.reference_to and one.name != "MasterRecordId"
    ]
