"""The policy, against a table that says it in other words."""

from itertools import combinations

import pytest
from django.contrib.auth.models import User

from connections.models import Connection
from jobs.models import Batch, Job
from orgs import access, current, tokens
from orgs.access import Denied, may, may_create, require, visible
from orgs.models import ApiToken, AuditEvent, Grant, Membership, Permission, Role, Team, Via
from syncs.models import FieldMapping, Sync
from tests.factories import make_batch, make_connection, make_job, make_member, make_organization, make_sync

pytestmark = pytest.mark.django_db

READ, WRITE, EXECUTE, APPROVE, HARD_DELETE, ADMIN = Permission
ALL = set(Permission)

# What holding one permission amounts to, of a member and of an API token alike.
AMOUNTS_TO = {
    READ: {READ},
    WRITE: {WRITE},
    EXECUTE: {READ, EXECUTE},
    APPROVE: {READ, APPROVE},
    HARD_DELETE: {HARD_DELETE},
    ADMIN: {READ, WRITE, EXECUTE, APPROVE, HARD_DELETE, ADMIN},
}
# What remains of that in each role. Owners and admins need no grants.
ROLE_LEAVES = {Role.OWNER: ALL, Role.ADMIN: ALL, Role.MEMBER: ALL, Role.VIEWER: {READ}}
MANAGERS = {Role.OWNER, Role.ADMIN}

SETS = [set(some) for size in range(6) for some in combinations(Permission, size)]
CAPS = [set(), *({each} for each in Permission), {READ, WRITE}, ALL]


def amounts_to(permissions):
    return set().union(*(AMOUNTS_TO[each] for each in permissions))


def expected(role, granted, cap):
    held = ALL if role in MANAGERS else amounts_to(granted)
    return held & amounts_to(cap) & ROLE_LEAVES[role]


def as_columns(permissions):
    return {each.value: each in permissions for each in Permission}


class World:
    """Two organizations that are alike, and a person in a team of the first."""

    def __init__(self):
        self.alpha, self.beta = make_organization("alpha"), make_organization("beta")
        self.user = make_member(self.alpha, "bob")
        self.membership = Membership.all_objects.get(user=self.user)
        self.team = Team.all_objects.create(organization=self.alpha, name="Loaders")
        self.team.members.add(self.membership)
        self.sync, self.foreign = make_sync(self.alpha), make_sync(self.beta)
        self.job, self.foreign_job = make_job(self.sync), make_job(self.foreign)

    def actor(self, role=Role.MEMBER, cap=frozenset(Permission), via=Via.API):
        self.membership.role = role
        return access.member(self.membership, via, frozenset(cap))


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("kind", ["connection", "sync"])
def test_what_each_role_may_with_each_set_of_grants_under_each_cap(world, role, kind):
    row, foreign = (world.sync, world.foreign) if kind == "sync" else (world.sync.source, world.foreign.source)
    access.grant(world.team, row, read=True)
    for granted in SETS:
        grants = Grant.all_objects.filter(object_id=row.pk)
        if granted:
            grants.update(team=world.team, **as_columns(granted))
        else:
            grants.update(team=Team.all_objects.get_or_create(organization=world.alpha, name="Others")[0])
        for cap in CAPS:
            actor = world.actor(role, cap)
            held = {each for each in Permission if visible(actor, type(row).all_objects.filter(pk=row.pk), each)}
            assert held == expected(role, granted, cap), (role, granted, cap)
            if cap == ALL:
                assert {each for each in Permission if may(actor, each, row)} == held
                assert not any(may(actor, each, foreign) for each in Permission)


@pytest.mark.parametrize("permission", list(Permission))
def test_what_has_no_grants_of_its_own_follows_what_it_belongs_to(world, permission):
    access.grant(world.team, world.sync, **{permission.value: True})
    line, batch = FieldMapping.all_objects.filter(sync=world.sync).first(), make_batch(world.job)
    for row in (world.job, line, batch):
        assert {each for each in Permission if may(world.actor(), each, row)} == AMOUNTS_TO[permission]
    make_batch(world.foreign_job)
    for model in (Job, Batch, Sync):
        assert visible(world.actor(), model.all_objects.all()).count() == (READ in AMOUNTS_TO[permission])
    # A grant on a sync is none on its connections.
    assert not visible(world.actor(), Connection.all_objects.all())


def test_a_grant_on_a_connection_is_none_on_the_sync_of_the_same_number(world):
    connection = make_connection(world.alpha, name="Of the same number", pk=world.sync.pk + 1000)
    sync = make_sync(
        world.alpha, name="Of the same number", pk=connection.pk, source=connection, destination=connection
    )
    access.grant(world.team, connection, admin=True)
    assert may(world.actor(), ADMIN, connection) and not may(world.actor(), READ, sync)


def test_permissions_of_several_teams_add_up(world):
    other = Team.all_objects.create(organization=world.alpha, name="Approvers")
    other.members.add(world.membership)
    access.grant(world.team, world.sync, write=True)
    access.grant(other, world.sync, approve=True)
    assert {each for each in Permission if may(world.actor(), each, world.sync)} == {READ, WRITE, APPROVE}


def test_whoever_leaves_a_team_holds_nothing_of_it(world):
    access.grant(world.team, world.sync, admin=True)
    world.team.members.remove(world.membership)
    assert not any(may(world.actor(), each, world.sync) for each in Permission)


# --- nothing crosses from one organization into another, not by rows that should not exist either ---


def test_a_member_of_another_organization_in_a_team_gets_nothing_by_it(world):
    stranger = Membership.all_objects.get(user=make_member(world.beta, "carol"))
    world.team.members.add(stranger)
    access.grant(world.team, world.sync, admin=True)
    actor = access.member(stranger, Via.API)
    for row in (world.sync, world.job, world.foreign):
        assert not any(may(actor, each, row) for each in Permission)
    assert not visible(actor, Grant.all_objects.all()) and not visible(actor, Team.all_objects.all())
    assert not access.teams_of(actor) and not may_create(actor, Sync)


def test_a_grant_on_a_foreign_object_gives_nothing(world):
    access.grant(world.team, world.sync, admin=True)
    for organization in (world.alpha, world.beta):
        Grant.all_objects.update(object_id=world.foreign.pk, organization=organization)
        assert not any(may(world.actor(), each, world.foreign) for each in Permission)


@pytest.mark.parametrize("role", list(Role))
def test_no_role_reaches_into_another_organization(world, role):
    stranger = make_member(world.beta, "carol")
    tokens.make_token(Membership.all_objects.get(user=stranger), "hers", [READ])
    access.grant(Team.all_objects.create(organization=world.beta, name="Theirs"), world.foreign, admin=True)
    actor = world.actor(role)
    for model in (Sync, Connection, Job, FieldMapping, Membership, Team, Grant, ApiToken, AuditEvent):
        for permission in Permission:
            assert not visible(actor, model.all_objects.filter(organization=world.beta), permission).exists()


def test_whoever_runs_the_installation_acts_in_one_organization_at_a_time(world):
    actor = access.operator(world.alpha, "root")
    assert may(actor, ADMIN, world.sync) and not may(actor, READ, world.foreign)


# --- who rules ---


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: "+".join(sorted(cap)) or "none")
def test_what_says_who_may_what_is_changed_by_managers_with_admin_only(world, role, cap):
    access.grant(world.team, world.sync, read=True)
    rows = [world.membership, world.team, Grant.all_objects.get()]
    actor = world.actor(role, cap)
    rules = role in MANAGERS and ADMIN in cap
    assert actor.manages == rules
    for row in rows:
        assert {each for each in Permission if each != READ and may(actor, each, row)} == (
            ALL - {READ} if rules else set()
        )
    for model in (Membership, Team, AuditEvent):
        assert may_create(actor, model) == rules


def test_grants_are_seen_and_made_by_whoever_holds_admin_on_their_object(world):
    others = Team.all_objects.create(organization=world.alpha, name="Others")
    access.grant(others, world.sync, read=True)
    access.grant(others, world.sync.source, read=True)
    assert not visible(world.actor(), Grant.all_objects.all()) and not may_create(world.actor(), Grant)
    access.grant(world.team, world.sync, admin=True)
    for permission in Permission:
        seen = visible(world.actor(), Grant.all_objects.all(), permission)
        assert {grant.object for grant in seen} == {world.sync} and seen.count() == 2
    assert may_create(world.actor(), Grant)
    assert not may_create(world.actor(cap=ALL - {ADMIN}), Grant)
    assert not visible(world.actor(cap={READ, WRITE}), Grant.all_objects.all(), WRITE)
    assert not may_create(world.actor(Role.VIEWER), Grant)


def test_everybody_sees_the_names_of_teams_and_nothing_else_of_them(world):
    for role in (Role.MEMBER, Role.VIEWER):
        assert {each for each in Permission if may(world.actor(role), each, world.team)} == {READ}


@pytest.mark.parametrize("role", list(Role))
def test_tokens_are_one_s_own_and_are_made_in_person(world, role):
    mine, _ = tokens.make_token(world.membership, "mine", [READ])
    other = Membership.all_objects.get(user=make_member(world.alpha, "eve"))
    theirs, _ = tokens.make_token(other, "theirs", [READ])
    actor = world.actor(role)
    assert all(may(actor, each, mine) for each in Permission)
    assert may(actor, READ, theirs) == may(actor, ADMIN, theirs) == (role in MANAGERS)
    assert may_create(world.actor(role, via=Via.ADMIN), ApiToken)
    assert not may_create(actor, ApiToken)  # a token makes no other
    weak = world.actor(role, {READ, WRITE})
    assert may(weak, READ, mine) and not any(may(weak, each, mine) for each in ALL - {READ})


@pytest.mark.parametrize(
    ("role", "in_a_team", "cap", "creates"),
    [
        (Role.OWNER, False, ALL, True),
        (Role.ADMIN, False, {WRITE}, True),
        (Role.ADMIN, False, {READ, EXECUTE, APPROVE}, False),
        (Role.MEMBER, True, ALL, True),
        (Role.MEMBER, True, {READ}, False),
        (Role.MEMBER, False, ALL, False),
        (Role.VIEWER, True, ALL, False),
    ],
)
def test_who_creates_connections_and_syncs(world, role, in_a_team, cap, creates):
    if not in_a_team:
        world.team.members.clear()
    for model in (Connection, Sync):
        assert may_create(world.actor(role, cap), model) is creates


def test_what_one_makes_for_a_team_is_the_team_s(world):
    access.hand_to(world.team, world.sync)
    assert all(may(world.actor(), each, world.sync) for each in Permission)
    assert list(access.teams_of(world.actor())) == [world.team]


# --- how a refusal is told ---


def test_what_one_may_not_read_does_not_exist(world):
    for row in (world.sync, world.foreign):
        with pytest.raises(Denied, match="There is no sync") as denied:
            require(world.actor(), EXECUTE, row)
        assert not denied.value.exists
    access.grant(world.team, world.sync, write=True)
    with pytest.raises(Denied, match="There is no sync"):
        require(world.actor(), EXECUTE, world.sync)
    require(world.actor(), WRITE, world.sync)


def test_what_one_may_read_is_refused_with_the_permission_it_takes(world):
    access.grant(world.team, world.sync, read=True)
    with pytest.raises(Denied, match="needs the permission 'execute'") as denied:
        require(world.actor(), EXECUTE, world.sync)
    assert denied.value.exists


def test_a_login_that_is_switched_off_is_nobody(world):
    User.objects.update(is_active=False)
    with pytest.raises(Denied, match="switched off"):
        access.member(Membership.all_objects.select_related("user").get(), Via.API)
    assert current.organizations_of(User.objects.get()) == []
