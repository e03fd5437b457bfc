"""How pages show an object: page layouts, compact layouts, list views, quick actions (REST API guide, "Layouts").

The sandbox has one page layout per object, with all fields one below the other, Salesforce's own compact layout, and
neither list views nor quick actions, which only an admin makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.call import Answer, Call
from sandbox.rest.describe import find_object, record_type_infos
from sandbox.schema import Field, ObjectType
from sandbox.store import make_id
from sandbox.wire import not_found

if TYPE_CHECKING:
    from sandbox.org import Org

LAYOUT_PREFIX = "00h"
FIRST_LIST_VIEWS = 32


def _layoutable(org: Org, call: Call) -> ObjectType:
    target = find_object(org, call)
    if not target.facts.get("layoutable", True):
        raise not_found()
    return target


def layouts(org: Org, call: Call) -> Answer:
    """GET sobjects/X/describe/layouts. Where there are record types, each layout is fetched by itself."""
    target = _layoutable(org, call)
    infos = record_type_infos(target, f"{call.data_url}/sobjects/{target.name}")
    layout = _layout(org, target)
    mappings = [{**each, "layoutId": layout["id"], "picklistsForRecordType": None} for each in infos]
    return Answer(
        200,
        {
            "layouts": [layout] if len(infos) == 1 else None,
            "recordTypeMappings": mappings,
            "recordTypeSelectorRequired": [len(infos) > 2],
        },
    )


def layout_of_record_type(org: Org, call: Call) -> Answer:
    """GET sobjects/X/describe/layouts/recordTypeId."""
    target = _layoutable(org, call)
    known = {each["recordTypeId"][:15] for each in record_type_infos(target, "")}
    if call.arguments["record_type"][:15] not in known:
        raise not_found()
    return Answer(200, _layout(org, target))


def _layout(org: Org, target: ObjectType) -> dict[str, Any]:
    names = sorted(each.name for each in org.schema)
    layout_id = make_id(LAYOUT_PREFIX, names.index(target.name) + 1)
    written = [each for each in target.fields.values() if each.flag("createable") or each.flag("updateable")]
    return {
        "buttonLayoutSection": {"detailButtons": []},
        "detailLayoutSections": [_section(layout_id, list(target.fields.values()))],
        "editLayoutSections": [_section(layout_id, written)],
        "feedView": None,
        "highlightsPanelLayoutSection": None,
        "id": layout_id,
        "multirowEditLayoutSections": [],
        "offlineLinks": [],
        "quickActionList": {"quickActionListItems": []},
        "relatedContent": None,
        "relatedLists": [],
        "saveOptions": [],
    }


def _section(layout_id: str, fields: list[Field]) -> dict[str, Any]:
    rows = [{"layoutItems": [_item(one, place)], "numItems": 1} for place, one in enumerate(fields, 1)]
    return {
        "collapsed": False,
        "columns": 1,
        "heading": "Information",
        "layoutRows": rows,
        "parentLayoutId": layout_id,
        "rows": len(rows),
        "tabOrder": "TopToBottom",
        "useCollapsibleSection": False,
        "useHeading": True,
    }


def _item(one: Field, place: int) -> dict[str, Any]:
    component = {
        "apiName": one.name,
        "components": [],
        "details": one.document,
        "displayLines": 1,
        "tabOrder": place,
        "type": "Field",
        "value": one.name,
    }
    return {
        "editableForNew": one.flag("createable"),
        "editableForUpdate": one.flag("updateable"),
        "label": one.label,
        "layoutComponents": [component],
        "placeholder": False,
        "required": one.required_on_insert,
    }


def compact_layouts(org: Org, call: Call) -> Answer:
    """GET sobjects/X/describe/compactLayouts: Salesforce's own, whose id is null, for all record types."""
    target = find_object(org, call)
    if not target.facts.get("compactLayoutable", True):
        raise not_found()
    shown = [one for one in target.fields.values() if one.flag("nameField")]
    system = {
        "actions": [],
        "fieldItems": [_item(one, place) for place, one in enumerate(shown, 1)],
        "id": None,
        "imageItems": [],
        "label": "System Default",
        "name": "SYSTEM",
        "objectType": target.name,
    }
    mappings = [
        {
            "available": each["available"],
            "compactLayoutId": None,
            "compactLayoutName": "SYSTEM",
            "recordTypeId": each["recordTypeId"],
            "recordTypeName": each["name"],
        }
        for each in record_type_infos(target, "")
    ]
    listed = {"compactLayouts": [system], "defaultCompactLayoutId": None, "recordTypeCompactLayoutMappings": mappings}
    return Answer(200, listed)


def approval_layouts(org: Org, call: Call) -> Answer:
    """GET sobjects/X/describe/approvalLayouts: none, since there are no approval processes."""
    find_object(org, call)
    return Answer(200, {"approvalLayouts": []})


def list_views(org: Org, call: Call) -> Answer:
    """GET sobjects/X/listviews (from version 32.0 on)."""
    target = find_object(org, call)
    if call.version < FIRST_LIST_VIEWS:
        raise not_found()
    listed = {"done": True, "listviews": [], "nextRecordsUrl": None, "size": 0, "sobjectType": target.name}
    return Answer(200, listed)


def quick_actions(org: Org, call: Call) -> Answer:
    """GET sobjects/X/quickActions."""
    find_object(org, call)
    return Answer(200, [])
