"""What the filters of all lists are made of."""

from __future__ import annotations

from django import forms
from django_filters import rest_framework as filters

from orgs.api.parsers import LARGEST_NUMBER
from orgs.models import Grant, Membership, Role, Team


class IdFilter(filters.Filter):
    """By the id of another row. One that does not exist for the actor finds nothing."""

    field_class = forms.IntegerField

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{"min_value": 1, "max_value": LARGEST_NUMBER, **options})


class MemberFilter(filters.FilterSet):
    username = filters.CharFilter(field_name="user__username")
    role = filters.ChoiceFilter(choices=Role.choices)

    class Meta:
        model = Membership
        fields: list[str] = []


class TeamFilter(filters.FilterSet):
    name = filters.CharFilter(lookup_expr="icontains")

    class Meta:
        model = Team
        fields: list[str] = []


class GrantFilter(filters.FilterSet):
    team = IdFilter(field_name="team_id")
    object_type = filters.ChoiceFilter(
        field_name="content_type__model", choices=[("connection", "connection"), ("sync", "sync")]
    )
    object_id = IdFilter()

    class Meta:
        model = Grant
        fields: list[str] = []
