"""Who gets which answer from which address: the whole installation in one table.

Each line is an address, a method, and who gets through (`ok`), who is told that it may not (`refused`); for everybody
else there is nothing at that address (`not there`). Where the sets overlap, `ok` counts; `-` takes one out. Some
answers are the same everywhere and stand in no line: whoever is not logged in, or comes with an API token that has
ended, is asked to log in, unless the line says `open`; and `no method` means that the address does not take the
method, whoever asks.

Everybody asks for the row of one organization, "ours": all but the stranger belong to it, who owns another one.
`reads` is a member whose team holds read on everything, `writes` holds write alone, and so on; `member` is in a team
without grants; `viewer` is a viewer in a team with read. `token-read` is a token of the owner that may read at most.
Addresses of the admin take no tokens.
"""

SETS = {
    "MANAGERS": "superuser owner admin",
    "RULE": "MANAGERS token-admin",
    "READ": "RULE reads executes approves administers viewer token-read token-execute token-approve",
    "WRITE": "RULE writes administers token-write",
    "EXECUTE": "RULE executes administers token-execute",
    "APPROVE": "RULE approves administers token-approve",
    "ADMIN": "RULE administers",
    # A form shows what it changes: in the admin, changing takes reading too.
    "EDIT": "RULE administers",
    "MAKE": "RULE reads writes executes approves hard-deletes administers member token-write",
    "OURS": "READ writes hard-deletes member",
    "READ-RULES": "RULE token-read token-execute token-approve",
    "ALL": "OURS token-write token-hard_delete stranger",
}

TABLE = """
# The admin itself
admin:index                                   GET     ok=ALL
admin:index                                   POST    ok=ALL
admin:login                                   GET     ok=ALL open
admin:login                                   POST    ok=ALL open
admin:logout                                  GET     no method  ok=anonymous
admin:logout                                  POST    ok=ALL open
admin:password_change                         GET     ok=ALL
admin:password_change                         POST    ok=ALL
admin:password_change_done                    GET     ok=ALL
admin:password_change_done                    POST    no method
admin:choose_organization                     GET     no method
admin:choose_organization                     POST    ok=OURS       refused=ALL
admin:autocomplete                            GET                   refused=ALL
admin:autocomplete                            POST    no method
admin:jsi18n                                  GET     ok=ALL
admin:jsi18n                                  POST    no method
admin:app_list                                GET     ok=ALL
admin:app_list                                POST    ok=ALL
admin/(?P<url>.*)$                            GET
admin/(?P<url>.*)$                            POST

# The organization
admin:orgs_organization_changelist            GET     ok=MANAGERS,stranger  refused=ALL
admin:orgs_organization_changelist            POST    ok=MANAGERS,stranger  refused=ALL
admin:orgs_organization_add                   GET     ok=superuser  refused=ALL
admin:orgs_organization_add                   POST    ok=superuser  refused=ALL
admin:orgs_organization_change                GET     ok=MANAGERS     refused=OURS
admin:orgs_organization_change                POST    ok=MANAGERS     refused=OURS
admin:orgs_organization_delete                GET                     refused=ALL
admin:orgs_organization_delete                POST                    refused=ALL
admin:orgs_organization_history               GET     ok=MANAGERS
admin:orgs_organization_history               POST    ok=MANAGERS
admin/orgs/organization/<path:object_id>/     GET     ok=ALL

# Its members
admin:orgs_membership_changelist              GET     ok=MANAGERS,stranger  refused=ALL
admin:orgs_membership_changelist              POST    ok=MANAGERS,stranger  refused=ALL
admin:orgs_membership_add                     GET     ok=MANAGERS,stranger  refused=ALL
admin:orgs_membership_add                     POST    ok=MANAGERS,stranger  refused=ALL
admin:orgs_membership_change                  GET     ok=MANAGERS     refused=OURS
admin:orgs_membership_change                  POST    ok=superuser,owner refused=OURS
admin:orgs_membership_delete                  GET     ok=superuser,owner refused=OURS
admin:orgs_membership_delete                  POST    ok=superuser,owner refused=OURS
admin:orgs_membership_history                 GET     ok=MANAGERS
admin:orgs_membership_history                 POST    ok=MANAGERS
admin/orgs/membership/<path:object_id>/       GET     ok=ALL

# Teams
admin:orgs_team_changelist                    GET     ok=ALL
admin:orgs_team_changelist                    POST    ok=ALL
admin:orgs_team_add                           GET     ok=MANAGERS,stranger  refused=ALL
admin:orgs_team_add                           POST    ok=MANAGERS,stranger  refused=ALL
admin:orgs_team_change                        GET     ok=OURS
admin:orgs_team_change                        POST    ok=MANAGERS   refused=OURS
admin:orgs_team_delete                        GET     ok=MANAGERS   refused=OURS
admin:orgs_team_delete                        POST    ok=MANAGERS   refused=OURS
admin:orgs_team_history                       GET     ok=OURS
admin:orgs_team_history                       POST    ok=OURS
admin/orgs/team/<path:object_id>/             GET     ok=ALL

# Grants
admin:orgs_grant_changelist                   GET     ok=MANAGERS,stranger  refused=ALL
admin:orgs_grant_changelist                   POST    ok=MANAGERS,stranger  refused=ALL
admin:orgs_grant_add                          GET                   refused=ALL
admin:orgs_grant_add                          POST                  refused=ALL
admin:orgs_grant_change                       GET     ok=MANAGERS     refused=OURS
admin:orgs_grant_change                       POST                    refused=ALL
admin:orgs_grant_delete                       GET                     refused=ALL
admin:orgs_grant_delete                       POST                    refused=ALL
admin:orgs_grant_history                      GET     ok=MANAGERS   refused=administers
admin:orgs_grant_history                      POST    ok=MANAGERS   refused=administers
admin/orgs/grant/<path:object_id>/            GET     ok=ALL

# API tokens: everybody's own
admin:orgs_apitoken_changelist                GET     ok=ALL
admin:orgs_apitoken_changelist                POST    ok=ALL
admin:orgs_apitoken_add                       GET     ok=ALL,-superuser  refused=superuser
admin:orgs_apitoken_add                       POST    ok=ALL,-superuser  refused=superuser
admin:orgs_apitoken_change                    GET     ok=MANAGERS
admin:orgs_apitoken_change                    POST                    refused=ALL
admin:orgs_apitoken_delete                    GET     ok=MANAGERS
admin:orgs_apitoken_delete                    POST    ok=MANAGERS
admin:orgs_apitoken_history                   GET     ok=MANAGERS
admin:orgs_apitoken_history                   POST    ok=MANAGERS
admin/orgs/apitoken/<path:object_id>/         GET     ok=ALL

# The audit
admin:orgs_auditevent_changelist              GET     ok=MANAGERS,stranger  refused=ALL
admin:orgs_auditevent_changelist              POST    ok=MANAGERS,stranger  refused=ALL
admin:orgs_auditevent_add                     GET                   refused=ALL
admin:orgs_auditevent_add                     POST                  refused=ALL
admin:orgs_auditevent_change                  GET     ok=MANAGERS     refused=OURS
admin:orgs_auditevent_change                  POST                    refused=ALL
admin:orgs_auditevent_delete                  GET                     refused=ALL
admin:orgs_auditevent_delete                  POST                    refused=ALL
admin:orgs_auditevent_history                 GET     ok=MANAGERS
admin:orgs_auditevent_history                 POST    ok=MANAGERS
admin/orgs/auditevent/<path:object_id>/       GET     ok=ALL

# Logins
admin:auth_user_changelist                    GET     ok=superuser  refused=ALL
admin:auth_user_changelist                    POST    ok=superuser  refused=ALL
admin:auth_user_add                           GET     ok=superuser  refused=ALL
admin:auth_user_add                           POST    ok=superuser  refused=ALL
admin:auth_user_change                        GET     ok=superuser  refused=ALL
admin:auth_user_change                        POST    ok=superuser  refused=ALL
admin:auth_user_delete                        GET     ok=superuser  refused=ALL
admin:auth_user_delete                        POST    ok=superuser  refused=ALL
admin:auth_user_history                       GET     ok=superuser  refused=ALL
admin:auth_user_history                       POST    ok=superuser  refused=ALL
admin:auth_user_password_change               GET     ok=superuser  refused=ALL
admin:auth_user_password_change               POST    ok=superuser  refused=ALL
admin/auth/user/<path:object_id>/             GET     ok=ALL

# Connections
admin:connections_connection_changelist       GET     ok=ALL
admin:connections_connection_changelist       POST    ok=ALL
admin:connections_connection_add              GET     ok=MAKE,stranger  refused=viewer
admin:connections_connection_add              POST    ok=MAKE,stranger  refused=viewer
admin:connections_connection_change           GET     ok=READ
admin:connections_connection_change           POST    ok=EDIT       refused=READ
admin:connections_connection_delete           GET     ok=ADMIN      refused=READ
admin:connections_connection_delete           POST    ok=ADMIN      refused=READ
admin:connections_connection_history          GET     ok=READ
admin:connections_connection_history          POST    ok=READ
admin:connections_connection_check            GET     no method
admin:connections_connection_check            POST    ok=EXECUTE    refused=READ
admin:connections_connection_check_log        GET     ok=READ
admin:connections_connection_check_log        POST    no method
admin:connections_connection_objects          GET     ok=EXECUTE    refused=READ
admin:connections_connection_objects          POST    ok=EXECUTE    refused=READ
admin:connections_connection_fields           GET     ok=EXECUTE    refused=READ
admin:connections_connection_fields           POST    ok=EXECUTE    refused=READ
admin:connections_connection_tables           GET     ok=EXECUTE    refused=READ
admin:connections_connection_tables           POST    ok=EXECUTE    refused=READ
admin:connections_connection_upload           GET     no method
admin:connections_connection_upload           POST    ok=EDIT       refused=READ
admin:connections_connection_delete_file      GET     no method
admin:connections_connection_delete_file      POST    ok=EDIT       refused=READ
admin/connections/connection/<path:object_id>/  GET   ok=ALL

# Syncs
admin:syncs_sync_changelist                   GET     ok=ALL
admin:syncs_sync_changelist                   POST    ok=ALL
admin:syncs_sync_add                          GET     ok=MAKE,stranger  refused=viewer
admin:syncs_sync_add                          POST    ok=MAKE,stranger  refused=viewer
admin:syncs_sync_change                       GET     ok=READ
admin:syncs_sync_change                       POST    ok=EDIT       refused=READ
admin:syncs_sync_delete                       GET     ok=ADMIN      refused=READ
admin:syncs_sync_delete                       POST    ok=ADMIN      refused=READ
admin:syncs_sync_history                      GET     ok=READ
admin:syncs_sync_history                      POST    ok=READ
admin:syncs_sync_start                        GET     ok=EXECUTE    refused=READ
admin:syncs_sync_start                        POST    ok=EXECUTE    refused=READ
admin:syncs_sync_preview                      GET     ok=EXECUTE    refused=READ
admin:syncs_sync_preview                      POST    ok=EXECUTE    refused=READ
admin:syncs_sync_full_resync                  GET     ok=EXECUTE    refused=READ
admin:syncs_sync_full_resync                  POST    ok=EXECUTE    refused=READ
admin:syncs_sync_baseline                     GET     ok=EXECUTE    refused=READ
admin:syncs_sync_baseline                     POST    ok=EXECUTE    refused=READ
admin:syncs_sync_parked                       GET     ok=READ
admin:syncs_sync_parked                       POST    no method
admin:syncs_sync_release                      GET     no method
admin:syncs_sync_release                      POST    ok=EXECUTE    refused=READ
admin:syncs_sync_pause                        GET     no method
admin:syncs_sync_pause                        POST    ok=EDIT       refused=READ
admin:syncs_sync_go_on                        GET     no method
admin:syncs_sync_go_on                        POST    ok=EDIT       refused=READ
admin/syncs/sync/<path:object_id>/            GET     ok=ALL

# Jobs
admin:jobs_job_changelist                     GET     ok=ALL
admin:jobs_job_changelist                     POST    ok=ALL
admin:jobs_job_add                            GET                   refused=ALL
admin:jobs_job_add                            POST                  refused=ALL
admin:jobs_job_change                         GET     ok=READ
admin:jobs_job_change                         POST    ok=READ
admin:jobs_job_delete                         GET                     refused=ALL
admin:jobs_job_delete                         POST                    refused=ALL
admin:jobs_job_history                        GET     ok=READ
admin:jobs_job_history                        POST    ok=READ
admin:jobs_job_progress                       GET     ok=READ
admin:jobs_job_progress                       POST    no method
admin:jobs_job_rows                           GET     ok=READ
admin:jobs_job_rows                           POST    no method
admin:jobs_job_row                            GET     ok=READ
admin:jobs_job_row                            POST    no method
admin:jobs_job_plan                           GET     ok=READ
admin:jobs_job_plan                           POST    no method
admin:jobs_job_plan_csv                       GET     ok=READ
admin:jobs_job_plan_csv                       POST    no method
admin:jobs_job_refused                        GET     ok=READ
admin:jobs_job_refused                        POST    no method
admin:jobs_job_log                            GET     ok=READ
admin:jobs_job_log                            POST    no method
admin:jobs_job_log_file                       GET     ok=READ
admin:jobs_job_log_file                       POST    no method
admin:jobs_job_cancel                         GET     no method
admin:jobs_job_cancel                         POST    ok=EXECUTE     refused=READ
admin:jobs_job_approve                        GET     no method
admin:jobs_job_approve                        POST    ok=APPROVE     refused=READ
admin:jobs_job_reject                         GET     no method
admin:jobs_job_reject                         POST    ok=APPROVE     refused=READ
admin:jobs_job_again                          GET     no method
admin:jobs_job_again                          POST    ok=EXECUTE     refused=READ
admin:jobs_job_replay                         GET     no method
admin:jobs_job_replay                         POST    ok=EXECUTE     refused=READ
admin:jobs_job_test                           GET     no method
admin:jobs_job_test                           POST    ok=EXECUTE     refused=READ
admin:jobs_job_undo                           GET     no method
admin:jobs_job_undo                           POST    ok=EXECUTE     refused=READ
admin:jobs_record_history                     GET     ok=ALL
admin:jobs_record_history                     POST    no method
admin/jobs/job/<path:object_id>/              GET     ok=ALL

# The API
api-schema                                    GET     ok=ALL open
api-docs                                      GET     ok=ALL open
api/                                          GET     open
api/                                          POST    open
api-organizations-list                        GET     ok=ALL
api-organizations-detail                      GET     ok=OURS,token-write,token-hard_delete
api-members-list                              GET     ok=ALL
api-members-list                              POST    ok=RULE,stranger  refused=ALL
api-members-detail                            GET     ok=READ-RULES
api-members-detail                            PUT     ok=RULE       refused=READ-RULES
api-members-detail                            PATCH   ok=RULE,-admin  refused=READ-RULES,admin
api-members-detail                            DELETE  ok=RULE,-admin  refused=READ-RULES,admin
api-teams-list                                GET     ok=ALL
api-teams-list                                POST    ok=RULE,stranger  refused=ALL
api-teams-detail                              GET     ok=OURS
api-teams-detail                              PUT     ok=RULE       refused=OURS
api-teams-detail                              PATCH   ok=RULE       refused=OURS
api-teams-detail                              DELETE  ok=RULE       refused=OURS
api-grants-list                               GET     ok=ALL
api-grants-list                               POST    ok=ADMIN,stranger  refused=ALL
api-grants-detail                             GET     ok=ADMIN,READ-RULES
api-grants-detail                             PUT     ok=ADMIN      refused=READ-RULES
api-grants-detail                             PATCH   ok=ADMIN      refused=READ-RULES
api-grants-detail                             DELETE  ok=ADMIN      refused=READ-RULES
api-connections-list                          GET     ok=ALL
api-connections-list                          POST    ok=MAKE,stranger  refused=ALL
api-connections-detail                        GET     ok=READ
api-connections-detail                        PUT     ok=WRITE      refused=READ
api-connections-detail                        PATCH   ok=WRITE      refused=READ
api-connections-detail                        DELETE  ok=ADMIN      refused=READ
api-connections-check                         POST    ok=EXECUTE    refused=READ
api-connections-checks                        GET     ok=READ
api-connections-budget                        GET     ok=READ
api-connections-one-check                     GET     ok=READ
api-connections-columns                       GET     ok=EXECUTE    refused=READ
api-connections-count                         POST    ok=EXECUTE    refused=READ
api-connections-fields                        GET     ok=EXECUTE    refused=READ
api-connections-objects                       GET     ok=EXECUTE    refused=READ
api-connections-tables                        GET     ok=EXECUTE    refused=READ
api-connections-files                         GET     ok=READ
api-connections-files                         POST    ok=WRITE      refused=READ
api-syncs-list                                GET     ok=ALL
api-syncs-list                                POST    ok=MAKE,stranger  refused=ALL
api-syncs-detail                              GET     ok=READ
api-syncs-detail                              PUT     ok=WRITE      refused=READ
api-syncs-detail                              PATCH   ok=WRITE      refused=READ
api-syncs-detail                              DELETE  ok=ADMIN      refused=READ
api-syncs-pause                               POST    ok=WRITE      refused=READ
api-syncs-resume                              POST    ok=WRITE      refused=READ
api-syncs-problems                            GET     ok=EXECUTE    refused=READ
api-syncs-run                                 POST    ok=EXECUTE    refused=READ
api-syncs-parked                              GET     ok=READ
api-syncs-release                             POST    ok=EXECUTE    refused=READ
api-jobs-list                                 GET     ok=ALL
api-jobs-detail                               GET     ok=READ
api-jobs-events                               GET     ok=READ
api-jobs-batches                              GET     ok=READ
api-jobs-error-groups                         GET     ok=READ
api-jobs-row-errors                           GET     ok=READ
api-jobs-row-error                            GET     ok=READ
api-jobs-log                                  GET     ok=READ
api-jobs-plan                                 GET     ok=READ
api-jobs-plan-csv                             GET     ok=READ
api-jobs-refused-csv                          GET     ok=READ
api-jobs-cancel                               POST    ok=EXECUTE    refused=READ
api-jobs-approve                              POST    ok=APPROVE    refused=READ
api-jobs-reject                               POST    ok=APPROVE    refused=READ
api-jobs-replay                               POST    ok=EXECUTE    refused=READ
api-jobs-test                                 POST    ok=EXECUTE    refused=READ
api-jobs-exchanges                            GET     ok=READ
api-jobs-undo                                 POST    ok=EXECUTE    refused=READ
api-history-list                              GET     ok=ALL

# The way in
home                                          GET     ok=ALL open

# Whether it lives
healthz                                       GET     ok=ALL open
healthz                                       POST    no method  open
readyz                                        GET     ok=ALL open
readyz                                        POST    no method  open
"""


def members_of(name: str) -> set[str]:
    """Who is meant by the name of a set, or of one."""
    if name not in SETS:
        return {name}
    return set().union(*(members_of(part) for part in SETS[name].split()))


def rows() -> dict[tuple[str, str], dict[str, set[str]]]:
    """(route, method) -> answer -> who gets it; `open` and `no method` are answers to nobody in particular."""
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for line in TABLE.splitlines():
        if not line or line.startswith("#"):
            continue
        route, method, *words = line.split()
        answers: dict[str, set[str]] = {}
        for word in words:
            answer, _, names = word.partition("=")
            answers[answer] = set()
            for name in filter(None, names.split(",")):
                without = name.startswith("-")
                answers[answer] = answers[answer] - {name[1:]} if without else answers[answer] | members_of(name)
        if (route, method) in found:
            raise ValueError(f"{route} {method} stands in the table twice")
        found[route, method] = answers
    return found
