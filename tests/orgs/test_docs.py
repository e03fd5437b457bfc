from pathlib import Path

import pytest

from orgs.admin_tokens import NewToken
from orgs.grants_admin import WHAT_IT_LETS
from orgs.login import FAILURES, MINUTES
from orgs.models import Permission, Role

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/permissions.md").read_text()


@pytest.mark.parametrize("value", [*Role, *Permission], ids=str)
def test_every_role_and_permission_is_described(value):
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith(f"| {value} |")]
    assert rows and all(row[2].strip() or row[3].strip() for row in rows)


def test_every_permission_is_explained_where_it_is_given():
    assert set(WHAT_IT_LETS) == set(Permission)


def test_the_numbers_are_those_of_the_code():
    assert f"After {FAILURES} wrong passwords" in PAGE and f"for {MINUTES} minutes" in PAGE
    days = dict(NewToken.base_fields["days"].choices)
    assert list(days) == [7, 30, 90, 180, 365] and "after 7, 30, 90, 180 days or a year" in PAGE
