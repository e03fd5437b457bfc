"""All settings of a sync on its page in the admin, as a browser without JavaScript uses it."""

import re

import pytest
from django.http import QueryDict

from orgs.models import AuditEvent
from syncs.models import FieldMapping, Parameter, Sync
from tests.connections.salesforce.sessions import sandbox_session
from tests.factories import make_connection, make_organization, make_sync
from tests.jobs.scenario import run, sandbox_values, write_csv
from tests.syncs.test_admin import ADD, as_member, entered, page

pytestmark = pytest.mark.django_db

RULE = '{"all": [{"left": {"source": "name"}, "operator": "=", "right": {"value": "One"}}]}'


@pytest.fixture
def alpha():
    return make_organization()


@pytest.fixture
def live(alpha, sandbox):
    """A file and a practice org that answer."""
    write_csv(alpha, "accounts.csv", [["id", "name", "phone"], ["1", "One", "123"], ["2", "Two", "456"]])
    source = make_connection(alpha, name="Files")
    return source, make_connection(alpha, "salesforce", name="Practice", values=sandbox_values(sandbox))


def text_of(answer):
    return re.sub(r"\s+", " ", answer.content.decode())


def as_entered(answer):
    """What a browser would send of a page that asks: its hidden inputs, with their values."""
    inputs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', answer.content.decode())
    form = QueryDict(mutable=True)
    for name, value in inputs:
        if name != "csrfmiddlewaretoken":
            form.appendlist(name, value)
    return form


def lines_of(sync):
    return {line.target: line for line in sync.mappings.all()}


# --- the settings of the sync itself ---


def test_a_custom_sync_is_saved_with_its_rules_columns_and_options(admin_client, live):
    custom = {"mode": "custom", "on_new": "insert", "on_changed": "conditional", "on_dropped": "ignore"}
    columns = {"columns-rows": 3, "columns-0-name": "id", "columns-0-type": "number", "columns-1-name": "name"}
    columns |= {"columns-1-type": "text", "columns-2-name": "phone", "columns-2-type": "date"}
    more = {"changed_rule": RULE, "source_rules": RULE, "columns-2-format": "%d.%m.%Y", "bulk_serial": "on"}
    form = entered(*live, [("id", "External_Id__c"), ("name", "Name")], **custom, **columns, **more)
    answer = admin_client.post(ADD, form)
    assert answer.status_code == 302, text_of(answer)
    sync = Sync.all_objects.get()
    assert (sync.on_new, sync.on_changed, sync.on_dropped) == ("insert", "conditional", "ignore")
    assert sync.changed_rule == sync.source_rules
    assert sync.columns == [
        {"name": "id", "type": "number", "format": ""},
        {"name": "phone", "type": "date", "format": "%d.%m.%Y"},
    ]
    assert sync.bulk_serial
    shown = text_of(admin_client.get(page(sync)))
    assert "More than text: id number, phone date %d.%m.%Y" in shown
    assert "&quot;operator&quot;: &quot;=&quot;" in shown


def test_settings_that_do_not_go_together_are_told_at_their_place(admin_client, live):
    form = entered(*live, mode="mirror", compare="nothing", changed_rule="{", target_filter="Name != null")
    answer = text_of(admin_client.post(ADD, form))
    assert "deletes what left the source" in answer and "This is no JSON" in answer
    assert "take part in compare = destination" in answer
    assert not Sync.all_objects.exists()


def test_what_the_page_does_not_ask_for_any_other_mode_is_no_change(admin_client, live):
    sync = make_sync(live[0].organization, source=live[0], destination=live[1], mappings={})
    behaviour = {"on_new": "insert", "on_changed": "update", "on_dropped": "ignore"}
    admin_client.post(page(sync), entered(*live, name="Renamed", **behaviour))
    assert (Sync.all_objects.get().name, Sync.all_objects.get().on_new) == ("Renamed", "")
    assert not {"on_new", "on_changed", "on_dropped"} & set(AuditEvent.all_objects.get(action="changed").changes)


def test_a_target_filter_is_tried_without_saving_anything(admin_client, live, sandbox):
    with sandbox_session(sandbox) as session:
        for name in ("One", "Two"):
            session.request("POST", "sobjects/Account", json={"Name": name})
    tried = {"compare": "destination", "_try": "1", "name": ""}
    found = text_of(admin_client.post(ADD, entered(*live, **tried, target_filter="Name LIKE 'T%'")))
    assert "1 record meets this filter." in found
    assert "This field is required" not in found
    declared = {"parameters-TOTAL_FORMS": 1, "parameters-0-name": "start", "parameters-0-default": "O%"}
    found = admin_client.post(ADD, entered(*live, **tried, **declared, target_filter="Name LIKE @start"))
    assert "1 record meets this filter." in text_of(found)
    wrong = text_of(admin_client.post(ADD, entered(*live, **tried, target_filter="Name = 'a' AND Nope__c = 1")))
    assert "does not take the filter at character 16" in wrong
    assert not Sync.all_objects.exists()


def test_a_target_filter_is_not_tried_for_whoever_may_not_execute_on_the_org(client, live):
    sync = make_sync(live[0].organization, source=live[0], destination=live[1], mappings={})
    as_member(client, sync, read=True, write=True)
    assert 'name="_try"' not in text_of(client.get(page(sync)))
    answer = client.post(page(sync), entered(*live, _try="1", compare="destination", target_filter="Name != null"))
    assert answer.status_code == 200 and "this filter." not in text_of(answer)


def test_only_who_holds_hard_delete_switches_it_on(client, admin_client, live):
    sync = make_sync(live[0].organization, source=live[0], destination=live[1], mappings={}, mode="mirror")
    as_member(client, sync, read=True, write=True)
    form = entered(*live, mode="mirror", hard_delete="on")
    assert "permission &#x27;hard delete&#x27;" in text_of(client.post(page(sync), form))
    assert not Sync.all_objects.get().hard_delete
    assert admin_client.post(page(sync), form).status_code == 302
    assert Sync.all_objects.get().hard_delete
    # It stands, so somebody else may leave it so, or switch it off, and not on again.
    assert client.post(page(sync), {**form, "name": "Renamed"}).status_code == 302
    client.post(page(sync), entered(*live, mode="mirror"))
    assert not Sync.all_objects.get().hard_delete
    assert client.post(page(sync), form).status_code == 200


def test_with_the_permission_hard_delete_a_member_switches_it_on(client, live):
    sync = make_sync(live[0].organization, source=live[0], destination=live[1], mappings={}, mode="mirror")
    as_member(client, sync, read=True, write=True, hard_delete=True)
    assert client.post(page(sync), entered(*live, mode="mirror", hard_delete="on")).status_code == 302
    assert Sync.all_objects.get().hard_delete


# --- another key ---


@pytest.fixture
def known(live):
    """A sync whose snapshot knows two records."""
    lines = {"External_Id__c": "id", "Name": "name"}
    sync = make_sync(live[0].organization, source=live[0], destination=live[1], mappings=lines)
    assert run(sync).counts["inserted"] == 2
    sync.refresh_from_db()
    return sync


def edited(sync, **changes):
    form = entered(sync.source, sync.destination, [("id", "External_Id__c"), ("name", "Name")], **changes)
    form["mappings-INITIAL_FORMS"] = 2
    for index, line in enumerate(sync.mappings.order_by("position")):
        form |= {
            f"mappings-{index}-id": line.pk,
            f"mappings-{index}-sync": sync.pk,
            f"mappings-{index}-position": index,
        }
    return form


@pytest.mark.django_db(transaction=True)
def test_another_key_is_saved_only_after_its_cost_was_told(admin_client, known):
    asked = admin_client.post(page(known), edited(known, key_fields=["Name"], name="Renamed"))
    assert "The snapshot of 2 records, by External_Id__c of Account, cannot be used any more" in text_of(asked)
    assert "sends every row of the source again" in text_of(asked)
    stored = Sync.all_objects.get()
    assert (stored.name, stored.key_fields, stored.known_records) == ("Accounts", ["External_Id__c"], 2)

    back = admin_client.post(page(known), {**as_entered(asked).dict(), "_refresh": "1"})
    assert 'value="Renamed"' in text_of(back)
    assert Sync.all_objects.get().name == "Accounts"

    form = as_entered(asked)
    form["_confirmed"] = "1"
    assert admin_client.post(page(known), form).status_code == 302
    stored = Sync.all_objects.get()
    assert (stored.name, stored.key_fields, stored.known_records) == ("Renamed", ["Name"], None)
    job = run(stored)
    assert job.status == "succeeded", job.reason
    assert job.counts["updated"] == 2, job.counts


@pytest.mark.django_db(transaction=True)
def test_a_form_with_a_mistake_is_shown_before_its_cost(admin_client, known):
    answer = admin_client.post(page(known), edited(known, key_fields=["Name"], name=""))
    assert "This field is required" in text_of(answer) and "cannot be used any more" not in text_of(answer)


@pytest.mark.django_db(transaction=True)
def test_whatever_else_changes_costs_nothing(admin_client, known):
    assert admin_client.post(page(known), edited(known, name="Renamed", mode="update")).status_code == 302
    assert Sync.all_objects.get().known_records == 2


# --- lines ---


def test_a_line_keeps_the_value_that_it_takes_and_its_options(admin_client, live):
    form = entered(*live, [("id", "External_Id__c"), ("name", "Name"), ("phone", "Phone")])
    form |= {"mappings-1-takes": "expression", "mappings-1-expression": "upper(name)"}
    form |= {"mappings-2-takes": "constant", "mappings-2-constant": "0", "mappings-2-write_on": "only_if_empty"}
    form |= {"mappings-2-replacements-rows": 3, "mappings-2-replacements-0-pattern": "[^0-9]"}
    form |= {"mappings-2-replacements-0-replacement": " ", "mappings-2-replacements-2-replacement": "lost"}
    form |= {"mappings-1-when_blank": "default", "mappings-1-default": "Nobody", "mappings-1-mandatory": "on"}
    del form["mappings-2-trim"]
    answer = admin_client.post(ADD, form)
    assert answer.status_code == 302, text_of(answer)
    lines = lines_of(Sync.all_objects.get())
    assert str(lines["Name"]) == "upper(name) -> Name" and lines["Name"].source_column is None
    assert (lines["Name"].when_blank, lines["Name"].default, lines["Name"].mandatory) == ("default", "Nobody", True)
    phone = lines["Phone"]
    assert (phone.constant, phone.write_on, phone.trim) == ("0", "only_if_empty", False)
    assert phone.replacements == [{"pattern": "[^0-9]", "replacement": " "}]
    shown = text_of(admin_client.get(page(Sync.all_objects.get())))
    assert "when blank: default, default &#x27;Nobody&#x27;, mandatory" in shown
    assert "write on: only if empty, not trimmed, 1 replacement" in shown


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"takes": "expression", "expression": ""}, "Enter the expression"),
        ({"takes": "constant", "constant": ""}, "Enter the constant"),
        ({"when_blank": "default"}, "An option of this line takes the default value"),
        ({"replacements-rows": 1, "replacements-0-pattern": "("}, "is no regular expression"),
    ],
)
def test_a_line_that_is_not_whole_is_told_and_nothing_saved(admin_client, live, more, words):
    form = entered(*live, [("id", "External_Id__c"), ("name", "Name")])
    form |= {f"mappings-1-{name}": value for name, value in more.items()}
    assert words in text_of(admin_client.post(ADD, form))
    assert not Sync.all_objects.exists()


def test_a_lookup_is_chosen_from_the_fields_of_its_parent(admin_client, live):
    lines = [("id", "External_Id__c"), ("name", "ParentId")]
    shown = text_of(admin_client.post(ADD, entered(*live, lines, _refresh="1")))
    assert '<option value="External_Id__c">External Id (External_Id__c), external id</option>' in shown
    form = entered(*live, lines)
    # A reference to one object: the parent need not be named.
    form["mappings-1-lookup_field"] = "External_Id__c"
    assert admin_client.post(ADD, form).status_code == 302
    line = lines_of(Sync.all_objects.get())["ParentId"]
    assert (line.lookup_object, line.lookup_field) == ("Account", "External_Id__c")
    assert "found by Account.External_Id__c" in text_of(admin_client.get(page(Sync.all_objects.get())))


def test_a_problem_stands_at_its_line_too(admin_client, live):
    form = entered(*live, [("id", "External_Id__c"), ("nmae", "Name")])
    text = text_of(admin_client.post(ADD, form, follow=True))
    assert text.count("Did you mean &#x27;name&#x27;?") == 2


def test_whoever_may_only_read_sees_lines_and_rules_as_text(client, live):
    sync = make_sync(live[0].organization, source=live[0], destination=live[1])
    FieldMapping.all_objects.filter(target="Name").update(when_blank="clear")
    as_member(client, sync, read=True)
    text = text_of(client.get(page(sync)))
    assert "when blank: clear" in text and 'name="mappings-0-target"' not in text
    assert 'name="columns-rows"' not in text and "data-rule=" not in text


# --- parameters ---


def test_parameters_have_a_default_or_are_asked_for(admin_client, live):
    form = entered(*live, [("id", "External_Id__c")])
    form |= {"parameters-TOTAL_FORMS": 3, "parameters-0-name": "country", "parameters-1-name": "day"}
    form |= {"parameters-1-asked": "on", "parameters-1-description": "Of the delivery."}
    admin_client.post(ADD, form)
    assert {each.name: each.default for each in Parameter.all_objects.all()} == {"country": "", "day": None}
    event = AuditEvent.all_objects.get(action="created")
    assert event.changes["parameters"][1] == ["@country = ''", "@day = asked for"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"0-name": "day", "1-name": "DAY"}, "Two parameters are called"),
        ({"0-name": "1st"}, "no digit first"),
        ({"0-name": "day", "0-default": "x", "0-asked": "on"}, "has no default"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(admin_client, live, more, words):
    form = entered(*live, **{"parameters-TOTAL_FORMS": 2})
    form |= {f"parameters-{name}": value for name, value in more.items()}
    assert words in text_of(admin_client.post(ADD, form))
    assert not Parameter.all_objects.exists()
