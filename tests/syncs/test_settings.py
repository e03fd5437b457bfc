"""Settings of a sync that do not go together, what the job is told, and what parameters are worth."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from syncs.models import BadParameters, FieldMapping, Parameter
from syncs.shapes import BadShape, check_columns, check_replacements, check_rule
from syncs.spec import Behaviour, ColumnSpec, LookupSpec, ReplacementSpec
from tests.factories import make_organization, make_sync

pytestmark = pytest.mark.django_db

RULE = {"all": [{"left": {"source": "city"}, "operator": "=", "right": {"value": "Rome"}}]}
OVER_BOTH = {"any": [{"left": {"target": "Rating"}, "operator": "is null"}, RULE]}
CUSTOM = {"mode": "custom", "on_new": "insert", "on_changed": "update", "on_dropped": "ignore"}


@pytest.fixture
def sync():
    return make_sync(make_organization())


def changed(sync, **values):
    for name, value in values.items():
        setattr(sync, name, value)
    return sync


def parameter(sync, name, default):
    return Parameter.all_objects.create(organization=sync.organization, sync=sync, name=name, default=default)


@pytest.mark.parametrize(
    ("values", "blamed", "words"),
    [
        ({"mode": "custom"}, {"on_new", "on_changed", "on_dropped"}, "has to say what becomes of new"),
        ({**CUSTOM, "on_changed": "conditional"}, {"changed_rule"}, "there is no rule"),
        ({**CUSTOM, "changed_rule": {"all": []}}, {"changed_rule"}, "is empty"),
        ({**CUSTOM, "on_dropped": "expire"}, {"expire_field"}, "Choose a date field"),
        ({**CUSTOM, "on_new": "ignore", "on_changed": "ignore"}, {"on_new"}, "would do nothing"),
        ({"hard_delete": True}, {"hard_delete"}, "deletes nothing"),
        ({"mode": "mirror", "compare": "nothing"}, {"compare"}, "deletes what left the source"),
        ({**CUSTOM, "on_dropped": "expire", "expire_field": "D__c", "compare": "nothing"}, {"compare"}, "expires"),
        ({"action_column": "what"}, {"action_column"}, "compare = nothing only"),
        ({"target_filter": "Name != null"}, {"target_filter"}, "compare = destination"),
        ({"key_fields": []}, {"key_fields"}, "Choose the sync key"),
        ({"key_fields": [], "mode": "insert"}, {"key_fields"}, "Choose the sync key"),
        ({"source_path": "", "source_query": "SELECT 1", "source_filter": "a"}, {"source_filter"}, "into the query"),
        ({"source_filter": "a = 1", "source_rules": RULE}, {"source_rules"}, "not both"),
        ({"source_rules": OVER_BOTH}, {"source_rules"}, "A side of a rule"),
        ({"columns": [{"name": "a", "type": "when"}]}, {"columns"}, "none of"),
        ({"auto_assign": "on"}, {"auto_assign"}, "01Q"),
        ({"object": "News__e"}, {"mode"}, "can only be published"),
    ],
)
def test_what_does_not_go_together_is_told_at_the_setting_to_change(sync, values, blamed, words):
    with pytest.raises(ValidationError) as caught:
        changed(sync, **values).clean()
    told = caught.value.message_dict
    assert set(told) == blamed
    assert any(words in text for texts in told.values() for text in texts), told


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**CUSTOM, "on_changed": "conditional", "changed_rule": OVER_BOTH},
        {**CUSTOM, "on_dropped": "expire", "expire_field": "Left__c", "compare": "destination"},
        {"mode": "mirror", "hard_delete": True},
        {"mode": "delete", "hard_delete": True},
        {"compare": "nothing", "action_column": "what", "hard_delete": True},
        {"compare": "destination", "target_filter": "Name != null"},
        {"mode": "insert", "compare": "nothing", "key_fields": []},
        {"object": "News__e", "mode": "insert", "compare": "nothing", "key_fields": []},
        {"source_rules": RULE},
        {"auto_assign": "01Q000000000001AAA"},
    ],
)
def test_what_goes_together_is_taken(sync, values):
    changed(sync, **values).clean()


def test_a_job_is_told_every_setting(sync):
    columns = [{"name": "born", "type": "date", "format": "%d.%m.%Y"}]
    custom = {**CUSTOM, "on_changed": "conditional", "on_dropped": "expire"}
    more = {"changed_rule": OVER_BOTH, "expire_field": "Left__c", "columns": columns, "source_rules": RULE}
    options = {"auto_assign": "default", "duplicate_rules": "allow_save", "bulk_serial": True, "park_after": 3}
    changed(sync, **custom, **more, **options, compare="destination", target_filter="Name != null").save()
    replaced = [{"pattern": "[.]", "replacement": ","}]
    FieldMapping.all_objects.create(
        organization=sync.organization,
        sync=sync,
        target="OwnerId",
        expression="lower(mail)",
        lookup_object="User",
        lookup_field="Email",
        when_blank="default",
        default="a@b.example",
        replacements=replaced,
        trim=False,
    )
    spec = sync.spec()
    assert spec.custom == spec.behaviour == Behaviour("insert", "conditional", "expire")
    assert (spec.changed_rule, spec.expire_field, spec.selection.rules) == (OVER_BOTH, "Left__c", RULE)
    assert spec.columns == (ColumnSpec("born", "date", "%d.%m.%Y"),)
    told = (spec.auto_assign, spec.duplicate_rules, spec.bulk_serial, spec.park_after, spec.target_filter)
    assert told == ("default", "allow_save", True, 3, "Name != null")
    line = next(line for line in spec.mappings if line.target == "OwnerId")
    assert (line.expression, line.lookup, line.default) == ("lower(mail)", LookupSpec("User", "Email"), "a@b.example")
    assert line.replacements == (ReplacementSpec("[.]", ","),) and not line.trim
    assert type(spec).from_json(spec.to_json()) == spec


def test_what_only_the_mode_custom_says_counts_for_it_alone(sync):
    changed(sync, mode="mirror", on_dropped="expire", changed_rule=RULE, expire_field="Left__c").save()
    spec = sync.spec()
    assert (spec.custom, spec.changed_rule, spec.expire_field) == (None, None, "")
    assert spec.behaviour.dropped == "delete"


def test_parameters_have_the_given_value_or_their_default(sync):
    parameter(sync, "country", "DE")
    parameter(sync, "day", None)
    assert sync.spec({"day": "2026-01-01"}).parameters == {"country": "DE", "day": "2026-01-01"}
    assert sync.spec({"day": "", "country": "AT"}).parameters == {"country": "AT", "day": ""}
    with pytest.raises(BadParameters, match="the parameter 'day' has no value and no default"):
        sync.spec()
    with pytest.raises(BadParameters, match="no parameter 'dya'. It has: country, day."):
        sync.spec({"dya": "2026-01-01"})
    assert sync.spec_to_look_at().parameters == {"country": "DE", "day": ""}


def test_parameters_are_called_by_one_name_whatever_its_case(sync):
    parameter(sync, "day", "")
    with pytest.raises(IntegrityError), transaction.atomic():
        parameter(sync, "Day", "")
    for name in ("", "1st", "a-b", "a b", "@a"):
        with pytest.raises(ValidationError):
            Parameter(name=name).clean()


@pytest.mark.parametrize(
    ("values", "blamed"),
    [
        ({}, "__all__"),
        ({"source_column": "a", "constant": "b"}, "__all__"),
        ({"source_column": "a", "expression": "b"}, "__all__"),
        ({"source_column": "a", "lookup_object": "Account"}, "lookup_field"),
        ({"source_column": "a", "lookup_field": "Name"}, "lookup_object"),
        ({"source_column": "a", "lookup_object": "Account", "lookup_field": "Name FROM X"}, "lookup_field"),
        ({"source_column": "a", "when_blank": "default"}, "default"),
        ({"source_column": "a", "unknown_picklist": "default", "default": " "}, "default"),
        ({"source_column": "a", "replacements": [{"pattern": "(", "replacement": ""}]}, "replacements"),
    ],
)
def test_a_line_that_makes_no_sense_is_told_at_its_option(values, blamed):
    with pytest.raises(ValidationError) as caught:
        FieldMapping(target="Name", **values).clean()
    assert blamed in (caught.value.message_dict if hasattr(caught.value, "error_dict") else {"__all__"})


def test_the_database_too_takes_one_value_for_a_line(sync):
    with pytest.raises(IntegrityError), transaction.atomic():
        FieldMapping.all_objects.create(
            organization=sync.organization, sync=sync, target="Phone", constant="a", expression="b"
        )


def test_what_is_unusual_about_a_line_is_told_in_short():
    line = FieldMapping(target="Name", source_column="a", when_blank="clear", write_on="only_if_empty", trim=False)
    assert line.options() == ["when blank: clear", "write on: only if empty", "not trimmed"]
    assert FieldMapping(target="Name", source_column="a").in_words() == "a -> Name"


def test_another_key_or_object_costs_the_snapshot_and_an_equal_one_nothing(sync):
    sync.snapshot = {"path": "x", "rows": 12_345, "header": {}}
    assert sync.cost_of_change("ACCOUNT", ["external_id__c"]) == []
    first, *rest = sync.cost_of_change("Contact", ["External_Id__c"])
    assert "12,345 records, by External_Id__c of Account" in first
    assert rest == ["The next job knows nothing: it sends every row of the source again."]
    assert "deletes nothing" in changed(sync, mode="mirror").cost_of_change("Account", ["Symbol__c"])[-1]
    assert "as each job" in changed(sync, compare="destination").cost_of_change("Account", ["Symbol__c"])[-1]
    assert changed(sync, snapshot=None).cost_of_change("Contact", []) == []


@pytest.mark.parametrize(
    "rule",
    [
        None,
        [],
        {},
        {"none": [RULE]},
        {"all": [RULE], "any": [RULE]},
        {"all": "x"},
        {"all": ["x"]},
        {"all": [{"left": {"source": "a"}, "operator": "=="}]},
        {"all": [{"left": {"source": "a"}, "operator": ["="], "right": {"value": "b"}}]},
        {"all": [{"left": {"source": "a"}, "operator": "="}]},
        {"all": [{"left": {"source": "a"}, "operator": "is null", "right": {"value": "b"}}]},
        {"all": [{"left": {"value": "a"}, "operator": "=", "right": {"value": "b"}}]},
        {"all": [{"left": {"source": ""}, "operator": "=", "right": {"value": "b"}}]},
        {"all": [{"left": {"source": "a"}, "operator": "=", "right": {"value": 1}}]},
        {"all": [{"left": {"source": "a"}, "operator": "=", "right": {"value": "\x00"}}]},
        {"all": [{"left": {"source": "a"}, "operator": "in", "right": {"value": "b"}}]},
        {"all": [{"left": {"source": "a"}, "operator": "in", "right": {"value": []}}]},
        {"any": [{"all": [{"any": [{"all": [{"any": [RULE]}]}]}]}]},
        {"any": [RULE] * 201},
    ],
)
def test_a_rule_of_another_shape_is_refused(rule):
    with pytest.raises(BadShape):
        check_rule(rule, targets=True)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        [{"name": "a"}],
        [{"name": "", "type": "date"}],
        [{"name": "a", "type": "date", "more": 1}],
        [{"name": "a", "type": "number", "format": "%d"}],
        [{"name": "a", "type": "date", "format": "dd.mm"}],
        [{"name": "a", "type": "date"}] * 2,
    ],
)
def test_columns_of_another_shape_are_refused(columns):
    with pytest.raises(BadShape):
        check_columns(columns)


@pytest.mark.parametrize("replacements", [{}, [{}], [{"pattern": "", "replacement": ""}], [{"pattern": "a"}]])
def test_replacements_of_another_shape_are_refused(replacements):
    with pytest.raises(BadShape):
        check_replacements(replacements)
