"""API tokens in the admin: everybody's own; managers see them all. The text of a token is shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html

from orgs import tokens
from orgs.grants_admin import WHAT_IT_LETS
from orgs.models import ApiToken, Permission
from orgs.tenant_admin import TenantAdmin, actor_of

_DAYS = {7: "7 days", 30: "30 days", 90: "90 days", 180: "180 days", 365: "one year"}


class NewToken(forms.ModelForm):
    permissions = forms.MultipleChoiceField(
        choices=[(each.value, f"{each.label}: {WHAT_IT_LETS[each]}") for each in Permission],
        widget=forms.CheckboxSelectMultiple,
        initial=[Permission.READ],
        help_text="What it may do at most. It never may more than you may yourself at that moment.",
    )
    days = forms.TypedChoiceField(label="Ends after", choices=list(_DAYS.items()), coerce=int, initial=90)

    class Meta:
        model = ApiToken
        fields = ["name"]


@admin.register(ApiToken)
class ApiTokenAdmin(TenantAdmin):
    list_display = ["name", "begins_with", "acts_as", "may", "state", "last_used_at"]
    search_fields = ["name", "prefix"]
    list_select_related = ["membership__user"]
    delete_confirmation_template = "orgs/revoke_token.html"

    # --- the form: tokens are made and revoked, not changed ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        more = {} if obj else {"form": NewToken, "fields": ["name", "permissions", "days"]}
        return super().get_form(request, obj, change, **{**kwargs, **more})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["name", "permissions", "days"]
        return ["name", "begins_with", "acts_as", "may", "state", "expires_at", "last_used_at", "created_at"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request) and (obj is None or self._may(request, Permission.READ, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request) and (obj is None or self._may(request, Permission.ADMIN, obj))

    # --- the list ---

    @admin.display(description="Begins with")
    def begins_with(self, token: ApiToken) -> str:
        return f"{tokens.MARK}_{token.prefix}"

    @admin.display(description="Acts as", ordering="membership__user__username")
    def acts_as(self, token: ApiToken) -> str:
        return token.membership.user.get_username()

    @admin.display(description="May at most")
    def may(self, token: ApiToken) -> str:
        return ", ".join(token.permissions)

    @admin.display(description="State", ordering="expires_at")
    def state(self, token: ApiToken) -> str:
        ended = token.expires_at <= timezone.now()
        sign, words = ("badge", "ended") if ended else ("badge badge-ok", "until")
        return format_html('<span class="{}">{}</span> {}', sign, words, f"{token.expires_at:%Y-%m-%d %H:%M} UTC")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("digest")

    # --- making one ---

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """With one button: the answer is a page of its own."""
        only = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**only, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        membership = actor_of(request).membership
        assert membership is not None  # has_add_permission has seen to it
        chosen = form.cleaned_data
        permissions = [Permission(value) for value in chosen["permissions"]]
        ends = timezone.now() + timedelta(days=chosen["days"])
        token, request.made_token = tokens.make_token(membership, chosen["name"], permissions, ends)  # type: ignore[attr-defined]
        obj.__dict__.update(token.__dict__)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        """The one page that ever shows the text of the token. Browsers are told to store no page of the admin."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"The API token '{obj}'",
            "opts": self.opts,
            "token": obj,
            "text": request.made_token,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "orgs/token_made.html", context)
