"""What every view of the API derives from: who is asking, in which organization, and what that lets it see and do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, QuerySet
from django.http import HttpResponseBase
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions, mixins, permissions, serializers, viewsets
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error

from orgs import access, audit, current, tokens
from orgs.access import Actor, Denied
from orgs.api.errors import Conflict, TooLarge
from orgs.api.paging import NewestFirst
from orgs.api.parsers import CleanJSONParser, storable
from orgs.api.throttles import Calls, Starts, Strangers
from orgs.models import ApiToken, Permission, Team, Via
from orgs.tenancy import organization_scope, scoped_to_the_end

ID = "[0-9]{1,18}"  # any longer one is beyond what a database can hold


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer sfs_...`"""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        scheme, _, text = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = tokens.find_token(text.strip()) if storable(text) else None
        if token is None or not token.membership.user.is_active:
            raise exceptions.AuthenticationFailed("This API token is unknown, wrong or expired. Make a new one.")
        return token.membership.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class InAnOrganization(permissions.BasePermission):
    """Whoever asks acts in an organization: it becomes the `actor` of the view."""

    message = "You are not a member of any organization."

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        view.actor = _actor(request)
        return view.actor is not None


def _actor(request: Request) -> Actor | None:
    token = request.auth
    if isinstance(token, ApiToken):
        return access.member(token.membership, Via.API, frozenset(Permission(each) for each in token.permissions))
    return current.actor_of(request, Via.API)  # type: ignore[arg-type]  # DRF's request passes on what ours has


class AlwaysTheSame(BaseContentNegotiation):
    """A view answers in one media type, whatever is asked for."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        wanted = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == wanted), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class TenantSerializer(serializers.ModelSerializer):
    """A serializer of a tenant model.

    References to other rows are looked up among what the actor may use; a reference that a row has already may stay.
    """

    # Which permission a row must carry to be referred to, by the name of the field; reading is the default.
    refers_with: ClassVar[dict[str, Permission]] = {}
    # The field that is to blame when a row is there already.
    unique_field = "name"

    @property
    def actor(self) -> Actor | None:
        """Who is asking; None while the API is being described."""
        return getattr(self.context.get("view"), "actor", None)

    def build_relational_field(self, field_name: str, relation_info: Any) -> tuple[Any, dict[str, Any]]:
        field_class, options = super().build_relational_field(field_name, relation_info)
        related = relation_info.related_model
        if "queryset" in options and hasattr(related, "access_path"):
            rows = related.all_objects.all()
            if self.actor is None:
                options["queryset"] = rows.none()
                return field_class, options
            usable = access.visible(self.actor, rows, self.refers_with.get(field_name, Permission.READ))
            present = getattr(self.instance, f"{field_name}_id", None)
            if present is not None:
                usable = rows.filter(pk__in=usable.values("pk")) | rows.filter(
                    pk=present, organization=self.actor.organization
                )
            options["queryset"] = usable
        return field_class, options

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model too. Raises ValidationError."""
        if self.actor is None:
            return attrs
        model: Any = self.Meta.model
        names = {field.name for field in model._meta.concrete_fields}
        row = model(**{name: getattr(self.instance, name) for name in names if self.instance is not None})
        row._state.adding = self.instance is None
        row.organization = self.actor.organization
        for name in names & attrs.keys():
            setattr(row, name, attrs[name])
        try:
            row.clean()
        except ModelError as error:
            raise serializers.ValidationError(as_serializer_error(error)) from None
        try:
            row.validate_constraints()
        except ModelError:
            what = model._meta.verbose_name
            raise serializers.ValidationError(
                {self.unique_field: f"There is a {what} with this {self.unique_field} already."}, code="unique"
            ) from None
        return attrs


class ForTeam(serializers.PrimaryKeyRelatedField):
    """For which team something is made: it gets every permission on it."""

    def __init__(self, **options: Any) -> None:
        help_text = "The team (its id) that gets every permission. Owners and admins may leave it out."
        super().__init__(**{"queryset": Team.all_objects.none(), "write_only": True, "help_text": help_text, **options})

    def get_queryset(self) -> QuerySet[Team]:
        actor = getattr(self.context.get("view"), "actor", None)
        return Team.all_objects.none() if actor is None else access.teams_of(actor)


class TenantView(viewsets.GenericViewSet):
    """Rows of one tenant model, as far as the actor may see them.

    Attributes: model; needs: action of the view -> the permission it takes on the row, reading by default; slow: the
    actions that start a job or talk with another system; answers: exception -> what it is told as; more_errors:
    action -> statuses that it may answer with beside those that every action may.
    """

    model: Any = None
    actor: Actor
    needs: ClassVar[dict[str, Permission]] = {}
    slow: ClassVar[frozenset[str]] = frozenset()
    answers: ClassVar[dict[type[Exception], type[exceptions.APIException]]] = {}
    more_errors: ClassVar[dict[str, tuple[str, ...]]] = {}
    describes_errors = True
    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [InAnOrganization]
    content_negotiation_class = AlwaysTheSame
    metadata_class = None  # the description of the API says more than OPTIONS could
    parser_classes = [CleanJSONParser]
    filter_backends = [DjangoFilterBackend]
    pagination_class = NewestFirst
    lookup_value_regex = ID

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        with ExitStack() as self._scope:
            response = super().dispatch(request, *args, **kwargs)
            actor = getattr(self, "actor", None)
            return response if actor is None else scoped_to_the_end(response, actor.organization)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Enter the scope of the actor's organization, which `dispatch` leaves."""
        try:
            super().initial(request, *args, **kwargs)
        except (exceptions.NotAuthenticated, exceptions.AuthenticationFailed):
            strangers = Strangers()
            if not strangers.allow_request(request, self):
                raise exceptions.Throttled(strangers.wait()) from None
            raise
        self._scope.enter_context(organization_scope(self.actor.organization))
        for name, values in request.query_params.lists():
            if not all(map(storable, [name, *values])):
                raise exceptions.ParseError("The address holds a NUL character.")

    def get_throttles(self) -> list[Any]:
        return [Calls(), Starts()] if self.action in self.slow else [Calls()]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Denied):
            exc = exceptions.PermissionDenied(str(exc)) if exc.exists else exceptions.NotFound()
        elif isinstance(exc, RequestDataTooBig):
            exc = TooLarge()
        elif isinstance(exc, SuspiciousOperation):
            exc = exceptions.ParseError("The request is malformed.")
        else:
            answer = next((self.answers[kind] for kind in type(exc).__mro__ if kind in self.answers), None)
            exc = exc if answer is None else answer(str(exc))
        return super().handle_exception(exc)

    def needed(self) -> Permission:
        """The permission that the present action takes."""
        return self.needs.get(self.action or "", Permission.READ)

    def get_queryset(self) -> QuerySet[Any]:
        """What the actor may see: to change a row it need not be able to read it."""
        rows = self.model.all_objects.all()
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        readable = access.visible(self.actor, rows)
        if not self.detail or self.needed() == Permission.READ:
            return readable
        usable = access.visible(self.actor, rows, self.needed())
        return rows.filter(pk__in=readable.values("pk")) | rows.filter(pk__in=usable.values("pk"))

    def get_object(self) -> Any:
        """The row of the URL. 404 when it does not exist for the actor, 403 when it may not do this with it."""
        row = super().get_object()
        access.require(self.actor, self.needed(), row)
        return row

    def input(self, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """What the body of an action says. Raises ValidationError."""
        serializer = serializer_class(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        found: dict[str, Any] = serializer.validated_data
        return found

    def page_of(self, rows: QuerySet[Any], serializer: Any, pagination: type[NewestFirst] = NewestFirst) -> Response:
        """A page of rows that belong to the one of the URL."""
        paginator = pagination()
        page = paginator.paginate_queryset(rows, self.request, self)
        return paginator.get_paginated_response(serializer(page, many=True).data)


class Readable(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantView):
    """Rows that can be listed and read."""


class Editable(mixins.CreateModelMixin, mixins.UpdateModelMixin, mixins.DestroyModelMixin, Readable):
    """Rows that can be made, changed and deleted too; each change is recorded."""

    needs = {
        "update": Permission.WRITE,
        "partial_update": Permission.WRITE,
        "destroy": Permission.ADMIN,
    }

    def check_permissions(self, request: Any) -> None:
        super().check_permissions(request)
        if self.action == "create" and not access.may_create(self.actor, self.model):
            self.permission_denied(request, message="You may not create this here.")

    def perform_create(self, serializer: Any) -> None:
        """Save a new row in the actor's organization, and hand it to the team it is made for."""
        team: Team | None = serializer.validated_data.pop("for_team", None)
        with _or_conflict():
            row = serializer.save(organization=self.actor.organization)
            if team is not None:
                access.hand_to(team, row)
            audit.record(self.actor, "created", row, audit.changes_between({}, audit.values_of(row)))

    def perform_update(self, serializer: Any) -> None:
        with _or_conflict():
            before = audit.values_of(self.model.all_objects.get(pk=serializer.instance.pk))
            row = serializer.save()
            after = audit.values_of(self.model.all_objects.get(pk=row.pk))
            if before != after:
                audit.record(self.actor, "changed", row, audit.changes_between(before, after))

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change a row; somebody who may write but not read it gets no body back."""
        answer = super().update(request, *args, **kwargs)
        readable = access.visible(self.actor, self.model.all_objects.filter(pk=self.kwargs["pk"])).exists()
        return answer if readable else Response(status=204)

    def perform_destroy(self, instance: Any) -> None:
        try:
            with transaction.atomic():
                audit.record(self.actor, "deleted", instance)
                instance.delete()
        except ProtectedError as error:
            users = sorted({str(row._meta.verbose_name_plural) for row in error.protected_objects})  # type: ignore[attr-defined]
            raise Conflict(
                f"This {instance._meta.verbose_name} is still used by {' and '.join(users)}. Delete those first."
            ) from None


@contextmanager
def _or_conflict() -> Iterator[None]:
    """A transaction; when somebody else was faster with a row that may exist only once, it is a Conflict."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise Conflict from None
