"""The organization's own pages, as its people use them."""

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from orgs import access, members, tokens
from orgs.access import Denied
from orgs.login import FAILURES
from orgs.models import ApiToken, AuditEvent, Grant, Membership, Organization, Role, Team
from tests.factories import make_connection, make_member, make_organization, make_sync

pytestmark = pytest.mark.django_db

MEMBERS = "/admin/orgs/membership/"
TEAMS = "/admin/orgs/team/"
TOKENS = "/admin/orgs/apitoken/"
ORGANIZATIONS = "/admin/orgs/organization/"


@pytest.fixture(autouse=True)
def _forgotten_failures():
    cache.clear()


@pytest.fixture
def alpha():
    return make_organization()


@pytest.fixture
def owner(alpha):
    return make_member(alpha, "alice", Role.OWNER)


def membership(user):
    return Membership.all_objects.get(user=user)


def text_of(answer):
    return answer.content.decode()


def said(client, answer):
    """What the page after a redirect says."""
    return text_of(client.get(answer.url))


# --- members ---


def test_a_login_is_added_by_its_exact_name(client, alpha, owner):
    User.objects.create_user("dora")
    client.force_login(owner)
    assert client.post(f"{MEMBERS}add/", {"username": "dora", "role": "viewer"}).status_code == 302
    assert Membership.all_objects.get(user__username="dora").role == Role.VIEWER
    event = AuditEvent.all_objects.get()
    assert (event.actor, event.action, event.object_label) == ("alice", "created", "dora (Viewer)")


@pytest.mark.parametrize("name", ["Dora", "nobody", "gone"])
def test_an_unknown_login_is_refused_with_whom_to_ask(client, alpha, owner, name):
    User.objects.create_user("dora")
    User.objects.create_user("gone", is_active=False)
    client.force_login(owner)
    answer = client.post(f"{MEMBERS}add/", {"username": name, "role": "member"})
    assert "Ask whoever runs this installation to create the login" in text_of(answer)
    assert Membership.all_objects.count() == 1


def test_a_member_is_not_added_twice(client, alpha, owner):
    client.force_login(owner)
    assert "is a member already" in text_of(client.post(f"{MEMBERS}add/", {"username": "alice", "role": "member"}))


def test_only_owners_make_change_and_remove_owners(client, alpha, owner):
    make_member(alpha, "ed", Role.ADMIN)
    User.objects.create_user("dora")
    client.force_login(User.objects.get(username="ed"))
    assert 'value="owner"' not in text_of(client.get(f"{MEMBERS}add/"))
    client.post(f"{MEMBERS}add/", {"username": "dora", "role": "owner"})
    assert not Membership.all_objects.filter(user__username="dora").exists()
    page = f"{MEMBERS}{membership(owner).pk}/"
    assert client.post(f"{page}change/", {"role": "member"}).status_code == 403
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert membership(owner).role == Role.OWNER


def test_the_last_owner_stays_and_is_told_why(client, alpha, owner):
    client.force_login(owner)
    page = f"{MEMBERS}{membership(owner).pk}/"
    for rest, data in (("change/", {"role": "member"}), ("delete/", {"post": "yes"})):
        answer = client.post(f"{page}{rest}", data)
        assert "This is the last owner of the organization. Make somebody else an owner first." in said(client, answer)
    assert membership(owner).role == Role.OWNER
    assert not AuditEvent.all_objects.exists()


def test_with_another_owner_an_owner_may_go(client, alpha, owner):
    make_member(alpha, "eve", Role.OWNER)
    client.force_login(owner)
    client.post(f"{MEMBERS}{membership(owner).pk}/delete/", {"post": "yes"})
    assert [each.user.username for each in Membership.all_objects.all()] == ["eve"]
    assert AuditEvent.all_objects.get().action == "deleted"


def test_an_owner_whose_login_is_switched_off_does_not_count(alpha, owner):
    eve = make_member(alpha, "eve", Role.OWNER)
    User.objects.filter(pk=eve.pk).update(is_active=False)
    with pytest.raises(Denied, match="last owner"):
        members.change_role(access.operator(alpha, "root"), membership(owner), Role.MEMBER)


def test_members_of_another_organization_are_nobody_s_business(alpha, owner):
    carol = make_member(make_organization("beta"), "carol", Role.OWNER)
    with pytest.raises(Denied) as denied:
        members.change_role(access.operator(alpha, "root"), membership(carol), Role.MEMBER)
    assert not denied.value.exists


def test_whoever_does_not_manage_has_no_page_of_members(client, alpha, owner):
    client.force_login(make_member(alpha, "bob"))
    assert client.get(MEMBERS).status_code == 403
    index = text_of(client.get("/admin/"))
    assert MEMBERS not in index and "/admin/orgs/grant/" not in index and "/admin/auth/" not in index
    assert TEAMS in index and TOKENS in index


# --- teams and grants ---


def test_teams_are_made_of_members_of_the_organization_only(client, alpha, owner):
    bob = membership(make_member(alpha, "bob"))
    carol = membership(make_member(make_organization("beta"), "carol"))
    client.force_login(owner)
    assert "carol" not in text_of(client.get(f"{TEAMS}add/"))
    answer = client.post(f"{TEAMS}add/", {"name": "Loaders", "members": [carol.pk]})
    assert "not one of the available choices" in text_of(answer)
    assert client.post(f"{TEAMS}add/", {"name": "Loaders", "members": [bob.pk]}).status_code == 302
    team = Team.all_objects.get()
    assert list(team.members.all()) == [bob]
    client.post(f"{TEAMS}{team.pk}/change/", {"name": "Loaders", "members": []})
    assert AuditEvent.all_objects.first().changes == {"members": [["bob"], []]}


def test_members_see_the_names_of_teams_and_not_who_is_in_them(client, alpha, owner):
    team = Team.all_objects.create(organization=alpha, name="Loaders")
    team.members.add(membership(owner))
    client.force_login(make_member(alpha, "bob"))
    page = text_of(client.get(f"{TEAMS}{team.pk}/change/"))
    assert "Loaders" in page and "alice" not in page
    assert client.post(f"{TEAMS}{team.pk}/change/", {"name": "Mine"}).status_code == 403


def test_the_list_of_who_may_what_is_there_for_managers(client, alpha, owner):
    sync = make_sync(alpha)
    team = Team.all_objects.create(organization=alpha, name="Loaders")
    access.grant(team, sync, execute=True)
    client.force_login(owner)
    page = text_of(client.get("/admin/orgs/grant/"))
    assert "Loaders" in page and f"/admin/syncs/sync/{sync.pk}/change/" in page
    assert client.post("/admin/orgs/grant/add/", {}).status_code == 403


PREFIX = "orgs-grant-content_type-object_id"


def page_of(connection):
    return f"/admin/connections/connection/{connection.pk}/change/"


def posted(connection, initial, *lines):
    """The form of a connection to files, with lines of who may what."""
    data = {"name": connection.name, "setting_delimiter": ",", "setting_encoding": "utf-8", "setting_header_rows": "1"}
    data |= {"setting_quote": '"', f"{PREFIX}-TOTAL_FORMS": len(lines), f"{PREFIX}-INITIAL_FORMS": initial}
    for number, line in enumerate(lines):
        data |= {f"{PREFIX}-{number}-{name}": value for name, value in line.items()}
    return data


@pytest.fixture
def files(alpha):
    return make_connection(alpha)


@pytest.fixture
def loaders(alpha):
    return Team.all_objects.create(organization=alpha, name="Loaders")


def test_who_may_what_is_said_on_the_page_of_the_object_and_is_on_record(client, owner, files, loaders):
    client.force_login(owner)
    assert client.post(page_of(files), posted(files, 0, {"team": loaders.pk, "read": "on"})).status_code == 302
    grant = Grant.all_objects.get()
    assert (grant.object, grant.read, grant.execute) == (files, True, False)
    shown = client.get(page_of(files)).context["inline_admin_formsets"][0].formset
    assert [form.instance for form in shown.initial_forms] == [grant]
    line = {"id": grant.pk, "team": loaders.pk, "execute": "on"}
    client.post(page_of(files), posted(files, 1, line))
    assert AuditEvent.all_objects.first().changes == {"read": [True, False], "execute": [False, True]}
    client.post(page_of(files), posted(files, 1, {**line, "DELETE": "on"}))
    assert not Grant.all_objects.exists()
    told = AuditEvent.all_objects.filter(object_type="grant").order_by("pk")
    assert [event.action for event in told] == ["created", "changed", "deleted"]


def test_a_grant_grants_something_and_a_team_stands_there_once(client, owner, files, loaders):
    client.force_login(owner)
    assert "Tick what the team may do" in text_of(client.post(page_of(files), posted(files, 0, {"team": loaders.pk})))
    twice = {"team": loaders.pk, "read": "on"}
    assert "stands here twice" in text_of(client.post(page_of(files), posted(files, 0, twice, twice)))
    foreign = Team.all_objects.create(organization=make_organization("beta"), name="Theirs")
    answer = client.post(page_of(files), posted(files, 0, {"team": foreign.pk, "read": "on"}))
    assert "Select a valid choice" in text_of(answer)
    assert not Grant.all_objects.exists()


@pytest.mark.parametrize("permission", ["read", "write", "execute", "approve", "admin"])
def test_only_whoever_holds_admin_sees_and_says_who_may_what(client, alpha, owner, files, loaders, permission):
    bob = make_member(alpha, "bob")
    loaders.members.add(membership(bob))
    access.grant(loaders, files, **{"read": True, "write": True, permission: True})
    others = Team.all_objects.create(organization=alpha, name="Others")
    client.force_login(bob)
    assert (PREFIX in text_of(client.get(page_of(files)))) == (permission == "admin")
    client.post(page_of(files), posted(files, 0, {"team": others.pk, "admin": "on"}))
    assert Grant.all_objects.filter(team=others).exists() == (permission == "admin")


def test_a_team_is_deleted_with_its_grants(client, owner, files, loaders):
    access.grant(loaders, files, read=True)
    client.force_login(owner)
    assert client.post(f"{TEAMS}{loaders.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Team.all_objects.exists() and not Grant.all_objects.exists()


# --- API tokens ---


def made_token(client, **changes):
    data = {"name": "nightly", "permissions": ["read", "execute"], "days": "30", **changes}
    return client.post(f"{TOKENS}add/", data)


def test_a_token_is_shown_once_and_kept_nowhere(client, alpha, owner):
    bob = make_member(alpha, "bob")
    client.force_login(bob)
    answer = made_token(client)
    text = answer.context["text"]
    assert text in text_of(answer) and "no-store" in answer["Cache-Control"]
    token = tokens.find_token(text)
    assert (token.membership, token.permissions) == (membership(bob), ["read", "execute"])
    secret = text.rsplit(token.prefix + "_", 1)[1]
    assert secret not in str(list(ApiToken.all_objects.values()))
    assert secret not in str(list(AuditEvent.all_objects.values()))
    assert secret not in str(dict(client.session))
    for page in (TOKENS, f"{TOKENS}{token.pk}/change/", f"{TOKENS}{token.pk}/history/"):
        assert secret not in text_of(client.get(page)) and token.digest not in text_of(client.get(page))


def test_a_token_lives_a_year_at_most_and_has_a_permission(client, alpha, owner):
    client.force_login(owner)
    assert "Select a valid choice" in text_of(made_token(client, days="3650"))
    assert "This field is required" in text_of(made_token(client, permissions=[]))
    assert not ApiToken.all_objects.exists()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_everybody_sees_and_revokes_their_own_tokens_only(client, alpha, owner, role):
    bob = make_member(alpha, "bob", role)
    mine, _ = tokens.make_token(membership(bob), "mine", [])
    other, _ = tokens.make_token(membership(owner), "another", [])
    client.force_login(bob)
    page = text_of(client.get(TOKENS))
    assert "mine" in page and "another" not in page
    client.post(f"{TOKENS}{other.pk}/delete/", {"post": "yes"})
    client.post(f"{TOKENS}{mine.pk}/delete/", {"post": "yes"})
    assert list(ApiToken.all_objects.all()) == [other]


def test_managers_revoke_any_token(client, alpha, owner):
    token, _ = tokens.make_token(membership(make_member(alpha, "bob")), "nightly", [])
    client.force_login(owner)
    assert "nightly" in text_of(client.get(TOKENS))
    client.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"})
    assert not ApiToken.all_objects.exists()
    assert AuditEvent.all_objects.get().action == "deleted"


# --- the installation ---


def test_a_superuser_without_an_organization_is_told_what_to_do_first(admin_client, admin_user):
    assert "Create the first organization" in text_of(admin_client.get("/admin/"))
    answer = admin_client.post(f"{ORGANIZATIONS}add/", {"name": "Acme", "slug": "acme", "owner": "admin"})
    assert answer.status_code == 302
    assert "you are acting in it now" in said(admin_client, answer)
    organization = Organization.objects.get()
    assert Membership.all_objects.get().role == Role.OWNER
    assert {event.object_type for event in AuditEvent.all_objects.filter(organization=organization)} == {
        "organization",
        "member",
    }


def test_managers_rename_their_organization_and_see_no_other(client, alpha, owner):
    beta = make_organization("beta")
    client.force_login(owner)
    page = f"{ORGANIZATIONS}{alpha.pk}/change/"
    assert client.post(page, {"name": "Acme", "slug": "other", "history_days": 365}).status_code == 302
    alpha.refresh_from_db()
    assert (alpha.name, alpha.slug) == ("Acme", "alpha")
    assert AuditEvent.all_objects.get().changes == {"name": ["Alpha", "Acme"]}
    assert "Beta" not in text_of(client.get(ORGANIZATIONS))
    assert client.get(f"{ORGANIZATIONS}{beta.pk}/change/").status_code == 302
    assert client.get(f"{ORGANIZATIONS}add/").status_code == 403


def test_a_superuser_who_is_a_member_makes_tokens_too(admin_client, admin_user, alpha):
    Membership.all_objects.create(organization=alpha, user=admin_user, role=Role.OWNER)
    assert made_token(admin_client).status_code == 200
    assert ApiToken.all_objects.get().membership.user == admin_user


def test_a_login_that_is_a_member_is_not_deleted(admin_client, alpha, owner):
    page = f"/admin/auth/user/{owner.pk}/delete/"
    assert "alice (Owner)" in text_of(admin_client.get(page))
    admin_client.post(page, {"post": "yes"})
    assert User.objects.filter(pk=owner.pk).exists()


def test_the_login_of_the_only_owner_is_not_switched_off(admin_client, alpha, owner):
    answer = admin_client.post(f"/admin/auth/user/{owner.pk}/change/", {"username": "alice"})
    assert "the only owner who can log in of: Alpha" in text_of(answer)
    assert User.objects.get(pk=owner.pk).is_active


@pytest.mark.parametrize("page", ["/admin/auth/user/", "/admin/auth/user/add/", "/admin/auth/"])
def test_logins_are_out_of_reach_of_members(client, alpha, owner, page):
    client.force_login(owner)
    assert client.get(page).status_code in (403, 404)


# --- logging in, and where one acts ---


def log_in(client, name="alice", password="right"):
    return client.post("/admin/login/", {"username": name, "password": password, "next": "/admin/"})


def test_a_member_who_is_no_superuser_logs_in(client, alpha, owner):
    owner.set_password("right")
    owner.save()
    answer = log_in(client)
    assert answer.status_code == 302 and answer.url == "/admin/"


def test_whoever_is_a_member_of_nothing_is_told_so(client):
    User.objects.create_user("dora", password="right")
    assert "is a member of no organization" in text_of(log_in(client, "dora"))


def test_after_ten_wrong_passwords_one_has_to_wait(client, alpha, owner):
    owner.set_password("right")
    owner.save()
    for _ in range(FAILURES):
        assert "Too many" not in text_of(log_in(client, password="wrong"))
    assert "Too many wrong passwords. Wait 15 minutes" in text_of(log_in(client))
    assert "Please enter a correct username" in text_of(log_in(client, "bob"))


def test_one_acts_in_one_organization_at_a_time(client, alpha, owner):
    beta = make_organization("beta")
    Membership.all_objects.create(organization=beta, user=owner)
    make_connection(alpha, name="Of alpha")
    gamma = make_organization("gamma")
    client.force_login(owner)
    assert "Of alpha" in text_of(client.get("/admin/connections/connection/"))
    assert client.get("/admin/organization/").status_code == 405
    client.post("/admin/organization/", {"organization": beta.pk})
    assert "Of alpha" not in text_of(client.get("/admin/connections/connection/"))
    answer = client.post("/admin/organization/", {"organization": gamma.pk})
    assert "You are not a member of that organization" in said(client, answer)


def test_the_audit_is_read_and_never_changed(client, alpha, owner):
    User.objects.create_user("dora")
    client.force_login(owner)
    client.post(f"{MEMBERS}add/", {"username": "dora", "role": "viewer"})
    event = AuditEvent.all_objects.get()
    page = f"/admin/orgs/auditevent/{event.pk}/"
    assert "dora (Viewer)" in text_of(client.get("/admin/orgs/auditevent/?q=dora"))
    assert "role: nothing → viewer" in text_of(client.get(f"{page}change/"))
    assert client.post(f"{page}change/", {"actor": "x"}).status_code == 403
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert not Grant.all_objects.exists()


def test_being_added_elsewhere_leads_nobody_there(client):
    zulu = make_organization("zulu")
    zoe = make_member(zulu, "zoe", Role.OWNER)
    client.force_login(zoe)
    assert client.get("/admin/").context["actor"].organization == zulu
    Membership.all_objects.create(organization=make_organization("alpha"), user=zoe)
    assert client.get("/admin/").context["actor"].organization == zulu
    client.logout()
    client.force_login(zoe)
    assert client.get("/admin/").context["actor"].organization == zulu


@pytest.mark.parametrize("query", ["name__regex=^(a%2B)%2B$", "created_at__year=0&created_at__month=99", "name=%00"])
def test_a_list_takes_no_other_condition_than_those_of_its_filters(client, query):
    client.force_login(make_member(make_organization(), "alice", Role.OWNER))
    for page in ("connections/connection", "syncs/sync", "jobs/job", "orgs/team", "orgs/auditevent"):
        assert client.get(f"/admin/{page}/?{query}").status_code in (302, 400, 404)


def test_a_form_opened_in_one_organization_is_not_saved_in_another(client, alpha, owner):
    beta = make_organization("beta")
    Membership.all_objects.create(organization=beta, user=owner, role=Role.OWNER)
    client.force_login(owner)
    client.post("/admin/organization/", {"organization": alpha.pk})
    assert f'name="opened_in" value="{alpha.pk}"' in text_of(client.get(f"{TEAMS}add/"))
    client.post("/admin/organization/", {"organization": beta.pk})
    form = {"name": "Loaders", "description": "", "opened_in": alpha.pk}
    answer = client.post(f"{TEAMS}add/", form)
    assert answer.status_code == 409
    assert f"This form was opened in {alpha}" in text_of(answer) and "switched to Beta" in text_of(answer)
    assert "another organization" in text_of(client.post(f"{TEAMS}add/", {**form, "opened_in": "77"}))
    assert not Team.all_objects.exists()
