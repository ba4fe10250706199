-- 003_analytics_security_audit.sql: what it cost, which data is sensitive, and what happened.
--
-- Runs on PostgreSQL 12 to 18 after 002_sso_and_llm_domain.sql, by the migration engine or by psql -1 -f.
-- Text between ">>>" and "<<<" is a copy of the named file under sql/.

--- analytics: cost centers -------------------------------------------------------
-- Who bears a cost. A tree, so that a department's sum is its own and that of all below it.

create table analytics.cost_centers (
    tenant_id    uuid        not null,
    id           uuid        not null default platform.new_id(),
    parent_id    uuid,
    code         text        not null,
    display_name text        not null,
    description  text,
    owner_id     uuid,
    closed_at    timestamptz,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint cost_centers_pkey primary key (tenant_id, id),
    constraint cost_centers_code_key unique (tenant_id, code),
    constraint cost_centers_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint cost_centers_parent_id_fkey foreign key (tenant_id, parent_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint cost_centers_owner_id_fkey foreign key (tenant_id, owner_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint cost_centers_code_is_short check (code ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint cost_centers_display_name_is_not_blank check (display_name ~ '\S')
);

-- The centres directly below one.
create index cost_centers_parent_id_idx on analytics.cost_centers (tenant_id, parent_id);
-- What somebody answers for.
create index cost_centers_owner_id_idx on analytics.cost_centers (tenant_id, owner_id);

comment on table analytics.cost_centers is
    'One row for each cost centre of a tenant; a centre may lie within another.';
comment on column analytics.cost_centers.code is 'What the tenant''s books call it.';
comment on column analytics.cost_centers.owner_id is 'The user who answers for what is spent.';
comment on column analytics.cost_centers.closed_at is
    'From when nothing new is charged to it. It is never deleted: charges name it.';

-- >>> sql/analytics/refuse_cycle.sql
create or replace function analytics._refuse_cycle()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    -- The table is an argument and not tg_table_name, which on a shard is the shard's.
    v_table text := tg_argv[0]::regclass;
    v_ancestor uuid := new.parent_id;
begin
    -- From the new parent up to the root. The locks make two moves at once that would close a cycle
    -- together meet: the second waits, and then sees what the first has done or fails and is repeated.
    while v_ancestor is not null loop
        if v_ancestor = new.id then
            raise exception 'Row % of % cannot lie within itself', new.id, v_table
                using errcode = 'ZN001',
                      hint = 'The parent given is the row itself or one below it; choose one outside of it.';
        end if;
        execute format('select parent_id from %s where tenant_id = $1 and id = $2 for no key update', v_table)
            into v_ancestor
            using new.tenant_id, v_ancestor;
    end loop;
    return new;
end
$$;

comment on function analytics._refuse_cycle() is
    'Before-row trigger, the table''s name its argument: rows point to their parents without a cycle. Raises ZN001.';

revoke all on function analytics._refuse_cycle() from public;
-- <<<

create trigger _100_refuse_cycle before insert or update of parent_id on analytics.cost_centers
    for each row execute function analytics._refuse_cycle('analytics.cost_centers');
create trigger _200_touch_updated_at before update on analytics.cost_centers
    for each row execute function platform.touch_updated_at();

alter table analytics.cost_centers enable row level security;
alter table analytics.cost_centers force row level security;
create policy cost_centers_of_my_tenant on analytics.cost_centers
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update on analytics.cost_centers to enterprise_ai_app;

-- >>> sql/analytics/create_default_cost_centers.sql
create or replace function analytics.create_default_cost_centers()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_root_id uuid;
begin
    insert into analytics.cost_centers (tenant_id, code, display_name, description)
    values (v_tenant_id, 'root', 'Whole organisation', 'The root: everything that is spent.')
    on conflict (tenant_id, code) do nothing;

    select c.id into v_root_id
    from analytics.cost_centers as c
    where c.tenant_id = v_tenant_id and c.code = 'root';

    insert into analytics.cost_centers (tenant_id, parent_id, code, display_name, description)
    values
        (v_tenant_id, v_root_id, 'operations', 'Operations',
         'Day-to-day use in the business.'),
        (v_tenant_id, v_root_id, 'research', 'Research and development',
         'Trials, evaluations and whatever is not yet in use.'),
        (v_tenant_id, v_root_id, 'shared', 'Shared services',
         'What serves all; allocation rules share it out among the others.'),
        (v_tenant_id, v_root_id, 'unassigned', 'Unassigned',
         'Bears what nobody else was named for, until somebody is.')
    on conflict (tenant_id, code) do nothing;
end
$$;

comment on function analytics.create_default_cost_centers() is
    'Give the tenant of the context its cost centres: a root and operations, research, shared, unassigned beneath
it. What is there already stays as it is.';

revoke all on function analytics.create_default_cost_centers() from public;
-- <<<

create table analytics.cost_center_assignments (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    cost_center_id uuid        not null,
    user_id        uuid,
    group_id       uuid,
    api_key_id     uuid,
    created_at     timestamptz not null default now(),

    constraint cost_center_assignments_pkey primary key (tenant_id, id),
    constraint cost_center_assignments_user_id_key unique (tenant_id, user_id),
    constraint cost_center_assignments_group_id_key unique (tenant_id, group_id),
    constraint cost_center_assignments_api_key_id_key unique (tenant_id, api_key_id),
    constraint cost_center_assignments_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint cost_center_assignments_cost_center_id_fkey foreign key (tenant_id, cost_center_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint cost_center_assignments_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint cost_center_assignments_group_id_fkey foreign key (tenant_id, group_id)
        references identity.groups (tenant_id, id) on delete cascade,
    constraint cost_center_assignments_api_key_id_fkey foreign key (tenant_id, api_key_id)
        references identity.api_keys (tenant_id, id) on delete cascade,
    constraint cost_center_assignments_are_of_one_subject check (num_nonnulls(user_id, group_id, api_key_id) = 1)
);

-- Whose usage a centre bears.
create index cost_center_assignments_cost_center_id_idx
    on analytics.cost_center_assignments (tenant_id, cost_center_id);

comment on table analytics.cost_center_assignments is
    'One row for each user, group or API key whose usage a cost centre bears unless a call names another. The
key''s own assignment comes first, then the user''s, then that of the group assigned first.';

alter table analytics.cost_center_assignments enable row level security;
alter table analytics.cost_center_assignments force row level security;
create policy cost_center_assignments_of_my_tenant on analytics.cost_center_assignments
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on analytics.cost_center_assignments to enterprise_ai_app;

--- analytics: usage sessions and API calls ---------------------------------------

create table analytics.usage_sessions (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    user_id        uuid        not null,
    cost_center_id uuid,
    application    text        not null,
    channel        text        not null,
    started_at     timestamptz not null default now(),
    last_active_at timestamptz not null default now(),
    ended_at       timestamptz,
    end_reason     text,
    attributes     jsonb       not null default '{}',

    constraint usage_sessions_pkey primary key (tenant_id, id),
    constraint usage_sessions_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint usage_sessions_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint usage_sessions_cost_center_id_fkey foreign key (tenant_id, cost_center_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint usage_sessions_application_is_not_blank check (application ~ '\S'),
    constraint usage_sessions_channel_is_known check (
        channel in ('web', 'mobile', 'desktop', 'cli', 'api', 'plugin', 'chat')),
    constraint usage_sessions_are_active_after_they_start check (last_active_at >= started_at),
    constraint usage_sessions_end_after_their_last_activity check (ended_at >= last_active_at),
    constraint usage_sessions_end_reason_is_known check (end_reason in ('closed', 'signed_out', 'idle', 'expired')),
    constraint usage_sessions_ended_say_why check ((ended_at is null) = (end_reason is null)),
    constraint usage_sessions_attributes_are_an_object check (jsonb_typeof(attributes) = 'object')
);

-- Somebody's sessions, newest first.
create index usage_sessions_user_id_idx on analytics.usage_sessions (tenant_id, user_id, started_at desc);
-- Sessions of a period, for reports.
create index usage_sessions_started_at_idx on analytics.usage_sessions (tenant_id, started_at);
create index usage_sessions_cost_center_id_idx on analytics.usage_sessions (tenant_id, cost_center_id);
-- The sweep that ends what has gone idle.
create index usage_sessions_last_active_at_idx on analytics.usage_sessions (tenant_id, last_active_at)
    where ended_at is null;

comment on table analytics.usage_sessions is
    'One row for each stretch of work of a user in an application. Not a sign-in: one sign-in
(identity.user_sessions) may see several, and an API key works without one.';
comment on column analytics.usage_sessions.cost_center_id is
    'Whom the session''s usage is charged to; null for the user''s own assignment.';
comment on column analytics.usage_sessions.attributes is
    'What the application adds, as {"application.attribute": value, …}.';

alter table analytics.usage_sessions enable row level security;
alter table analytics.usage_sessions force row level security;
create policy usage_sessions_of_my_tenant on analytics.usage_sessions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert on analytics.usage_sessions to enterprise_ai_app;
grant update (last_active_at, ended_at, end_reason, attributes) on analytics.usage_sessions to enterprise_ai_app;

create table analytics.api_usage_logs (
    tenant_id        uuid           not null,
    occurred_at      timestamptz    not null default now(),
    id               uuid           not null default platform.new_id(),
    service_name     text           not null,
    request_method   text           not null,
    route            text           not null,
    status_code      smallint       not null,
    error_type       text,
    duration_ms      numeric(12, 3) not null,
    request_bytes    bigint,
    response_bytes   bigint,
    user_id          uuid,
    actor_id         uuid,
    api_key_id       uuid,
    usage_session_id uuid,
    request_id       text,
    trace_id         text,
    ip_address       inet,
    user_agent       text,

    constraint api_usage_logs_pkey primary key (tenant_id, occurred_at, id),
    constraint api_usage_logs_request_method_is_known check (
        request_method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')),
    constraint api_usage_logs_route_is_a_template check (route ~ '^/' and strpos(route, '?') = 0),
    constraint api_usage_logs_status_code_is_http check (status_code between 100 and 599),
    constraint api_usage_logs_duration_is_not_negative check (duration_ms >= 0),
    constraint api_usage_logs_sizes_are_not_negative check (request_bytes >= 0 and response_bytes >= 0),
    constraint api_usage_logs_trace_id_is_w3c check (trace_id ~ '^[0-9a-f]{32}$')
) partition by range (occurred_at);

-- The calls of a user, of a key; both newest first.
create index api_usage_logs_user_id_idx on analytics.api_usage_logs (tenant_id, user_id, occurred_at desc);
create index api_usage_logs_api_key_id_idx on analytics.api_usage_logs (tenant_id, api_key_id, occurred_at desc)
    where api_key_id is not null;
-- How a route of a service does over time.
create index api_usage_logs_route_idx
    on analytics.api_usage_logs (tenant_id, service_name, route, occurred_at desc);
-- What fails: few rows, asked for often.
create index api_usage_logs_failures_idx on analytics.api_usage_logs (tenant_id, occurred_at desc)
    where status_code >= 500;
-- From a session to its calls, and from a message of an application or a trace to the call.
create index api_usage_logs_usage_session_id_idx on analytics.api_usage_logs (tenant_id, usage_session_id)
    where usage_session_id is not null;
create index api_usage_logs_request_id_idx on analytics.api_usage_logs (tenant_id, request_id)
    where request_id is not null;
create index api_usage_logs_trace_id_idx on analytics.api_usage_logs (tenant_id, trace_id)
    where trace_id is not null;

comment on table analytics.api_usage_logs is
    'One row for each call of an API. Partitioned by month; without foreign keys, since a log outlives what it
mentions.';
comment on column analytics.api_usage_logs.service_name is
    'The service that answered (platform.services.name).';
comment on column analytics.api_usage_logs.route is
    'The template, such as /v1/conversations/{id}, without values or query: those may be personal.';
comment on column analytics.api_usage_logs.error_type is
    'A stable name of what went wrong; null when nothing did.';
comment on column analytics.api_usage_logs.actor_id is
    'Who was at work, when somebody acted on the user''s behalf.';
comment on column analytics.api_usage_logs.trace_id is
    'The trace of W3C Trace Context, 32 hexadecimal digits.';

alter table analytics.api_usage_logs enable row level security;
alter table analytics.api_usage_logs force row level security;
create policy api_usage_logs_of_my_tenant on analytics.api_usage_logs
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert on analytics.api_usage_logs to enterprise_ai_app;

select platform.ensure_partitions(
    'analytics.api_usage_logs',
    (now() at time zone 'UTC')::date,
    ((now() at time zone 'UTC') + interval '12 months')::date);

--- analytics: budgets ------------------------------------------------------------
-- A budget covers what its scope names and, where it lies within another budget, only as much of it as that
-- one covers: "gpt-4o" within "Ada" is what Ada spends on gpt-4o. So whatever counts in a budget counts in
-- all above it, and one walk from the roots down finds every budget that a call touches.

create table analytics.budgets (
    tenant_id      uuid            not null,
    id             uuid            not null default platform.new_id(),
    parent_id      uuid,
    name           text            not null,
    scope          text            not null generated always as (
        case when cost_center_id is not null then 'cost_center'
             when group_id is not null then 'group'
             when user_id is not null then 'user'
             when api_key_id is not null then 'api_key'
             when model_name is not null then 'model'
             else 'tenant'
        end) stored,
    cost_center_id uuid,
    group_id       uuid,
    user_id        uuid,
    api_key_id     uuid,
    model_name     text,
    currency       text            not null default 'USD',
    soft_limit     numeric(24, 12),
    hard_limit     numeric(24, 12),
    period         text            not null default 'month',
    anchor_on      date            not null,
    ends_on        date,
    time_zone      text            not null default 'UTC',
    archived_at    timestamptz,
    created_at     timestamptz     not null default now(),
    updated_at     timestamptz     not null default now(),

    constraint budgets_pkey primary key (tenant_id, id),
    constraint budgets_name_key unique (tenant_id, name),
    constraint budgets_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint budgets_parent_id_fkey foreign key (tenant_id, parent_id)
        references analytics.budgets (tenant_id, id) on delete cascade,
    constraint budgets_cost_center_id_fkey foreign key (tenant_id, cost_center_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint budgets_group_id_fkey foreign key (tenant_id, group_id)
        references identity.groups (tenant_id, id) on delete cascade,
    constraint budgets_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint budgets_api_key_id_fkey foreign key (tenant_id, api_key_id)
        references identity.api_keys (tenant_id, id) on delete cascade,
    constraint budgets_name_is_not_blank check (name ~ '\S'),
    constraint budgets_have_one_scope check (
        num_nonnulls(cost_center_id, group_id, user_id, api_key_id, model_name) <= 1),
    constraint budgets_of_the_tenant_are_roots check (
        parent_id is null or num_nonnulls(cost_center_id, group_id, user_id, api_key_id, model_name) = 1),
    constraint budgets_currency_is_iso_4217 check (currency ~ '^[A-Z]{3}$'),
    constraint budgets_have_a_limit check (num_nonnulls(soft_limit, hard_limit) > 0),
    constraint budgets_limits_are_not_negative check (soft_limit >= 0 and hard_limit >= 0),
    constraint budgets_soft_limit_is_within_the_hard check (soft_limit <= hard_limit),
    constraint budgets_period_is_known check (period in ('day', 'week', 'month', 'quarter', 'year', 'once')),
    constraint budgets_of_one_period_have_an_end check (period <> 'once' or ends_on is not null),
    constraint budgets_end_after_they_start check (ends_on > anchor_on),
    -- The server refuses a zone that it does not know; abbreviations and offsets have no daylight saving.
    constraint budgets_time_zone_is_iana check (
        time_zone ~ '^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$'
        and timestamp '2000-01-01' at time zone time_zone is not null)
);

-- From a budget to those within it, and from what a call touches to the budgets that cover it.
create index budgets_parent_id_idx on analytics.budgets (tenant_id, parent_id);
create index budgets_cost_center_id_idx on analytics.budgets (tenant_id, cost_center_id);
create index budgets_group_id_idx on analytics.budgets (tenant_id, group_id);
create index budgets_user_id_idx on analytics.budgets (tenant_id, user_id);
create index budgets_api_key_id_idx on analytics.budgets (tenant_id, api_key_id);

comment on table analytics.budgets is
    'One row for each limit on what may be spent, and how often it starts anew.';
comment on column analytics.budgets.parent_id is
    'The budget this one lies within: it covers only what that one covers too.';
comment on column analytics.budgets.scope is
    'Which of the columns that follow is given; tenant when none is.';
comment on column analytics.budgets.cost_center_id is 'Covers the centre and all below it.';
comment on column analytics.budgets.model_name is
    'The model that answers (llm.llm_usage_logs.response_model), whoever provides it.';
comment on column analytics.budgets.soft_limit is 'Beyond it people are told; null when nobody is to be.';
comment on column analytics.budgets.hard_limit is 'Beyond it calls are refused; null when none is.';
comment on column analytics.budgets.anchor_on is
    'The first day, in the budget''s time zone. Every window begins at its midnight or a whole number of periods
after, on the last day of the month where the month has no such day.';
comment on column analytics.budgets.ends_on is 'The day after the last; null when it goes on.';
comment on column analytics.budgets.time_zone is 'An IANA time zone name: whose midnight begins a window.';
comment on column analytics.budgets.archived_at is 'From when it covers nothing; its windows remain.';

create trigger _100_refuse_cycle before insert or update of parent_id on analytics.budgets
    for each row execute function analytics._refuse_cycle('analytics.budgets');
create trigger _200_touch_updated_at before update on analytics.budgets
    for each row execute function platform.touch_updated_at();

alter table analytics.budgets enable row level security;
alter table analytics.budgets force row level security;
create policy budgets_of_my_tenant on analytics.budgets
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert on analytics.budgets to enterprise_ai_app;
-- What its windows have counted has no meaning under another scope, currency or calendar.
grant update (name, soft_limit, hard_limit, ends_on, archived_at) on analytics.budgets to enterprise_ai_app;

create table analytics.budget_windows (
    tenant_id             uuid            not null,
    budget_id             uuid            not null,
    starts_at             timestamptz     not null,
    ends_at               timestamptz     not null,
    soft_limit            numeric(24, 12),
    hard_limit            numeric(24, 12),
    reserved              numeric(24, 12) not null default 0,
    spent                 numeric(24, 12) not null default 0,
    soft_limit_reached_at timestamptz,
    hard_limit_reached_at timestamptz,

    constraint budget_windows_pkey primary key (tenant_id, budget_id, starts_at),
    constraint budget_windows_budget_id_fkey foreign key (tenant_id, budget_id)
        references analytics.budgets (tenant_id, id) on delete cascade,
    constraint budget_windows_end_after_they_start check (ends_at > starts_at),
    constraint budget_windows_limits_are_not_negative check (soft_limit >= 0 and hard_limit >= 0),
    constraint budget_windows_soft_limit_is_within_the_hard check (soft_limit <= hard_limit),
    constraint budget_windows_reserved_is_not_negative check (reserved >= 0)
)
-- Every call of a model updates a few of these rows: room on the page keeps the new versions there, and no
-- index has a column that changes.
with (fillfactor = 50);

comment on table analytics.budget_windows is
    'One row for each stretch of time that a budget has been used in, with what is held and what was spent.';
comment on column analytics.budget_windows.ends_at is
    'When the next begins. A local day has 23 or 25 hours where the clocks change.';
comment on column analytics.budget_windows.soft_limit is
    'The budget''s limits as they apply to this window, which keeps them when the budget''s change later.';
comment on column analytics.budget_windows.reserved is 'The sum of what calls under way hold.';
comment on column analytics.budget_windows.spent is
    'What calls have cost. Beyond the hard limit where more was used than was held: what happened is counted.
Negative where corrections exceed it.';

alter table analytics.budget_windows enable row level security;
alter table analytics.budget_windows force row level security;
create policy budget_windows_of_my_tenant on analytics.budget_windows
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.budget_windows to enterprise_ai_app;

create table analytics.budget_reservations (
    tenant_id       uuid            not null,
    id              uuid            not null default platform.new_id(),
    amount          numeric(24, 12) not null,
    currency        text            not null,
    status          text            not null default 'held',
    settled_amount  numeric(24, 12),
    user_id         uuid,
    request_id      text,
    idempotency_key text,
    reserved_at     timestamptz     not null default now(),
    expires_at      timestamptz     not null,
    closed_at       timestamptz,

    constraint budget_reservations_pkey primary key (tenant_id, id),
    constraint budget_reservations_idempotency_key_key unique (tenant_id, idempotency_key),
    constraint budget_reservations_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint budget_reservations_amount_is_not_negative check (amount >= 0),
    constraint budget_reservations_currency_is_iso_4217 check (currency ~ '^[A-Z]{3}$'),
    constraint budget_reservations_status_is_known check (status in ('held', 'settled', 'released', 'expired')),
    constraint budget_reservations_are_held_or_closed check ((status = 'held') = (closed_at is null)),
    constraint budget_reservations_settled_have_an_amount check (
        (status = 'settled') = (settled_amount is not null)),
    constraint budget_reservations_settled_amount_is_not_negative check (settled_amount >= 0),
    constraint budget_reservations_expire_after_they_start check (expires_at > reserved_at),
    constraint budget_reservations_close_after_they_start check (closed_at >= reserved_at)
);

-- What returns by itself.
create index budget_reservations_expires_at_idx on analytics.budget_reservations (tenant_id, expires_at)
    where status = 'held';
-- What is old enough to be removed.
create index budget_reservations_closed_at_idx on analytics.budget_reservations (tenant_id, closed_at)
    where status <> 'held';

comment on table analytics.budget_reservations is
    'One row for each amount held before a call, against every budget that covers it, until its true cost is known.';
comment on column analytics.budget_reservations.amount is 'The most that the call can cost.';
comment on column analytics.budget_reservations.settled_amount is
    'What it did cost, which may be more than was held.';
comment on column analytics.budget_reservations.user_id is
    'For whom, without a foreign key: rows come with every call and go soon after.';
comment on column analytics.budget_reservations.idempotency_key is
    'The same again from the same caller is the same reservation.';
comment on column analytics.budget_reservations.expires_at is
    'When the amount returns if nobody has settled or released it.';

alter table analytics.budget_reservations enable row level security;
alter table analytics.budget_reservations force row level security;
create policy budget_reservations_of_my_tenant on analytics.budget_reservations
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.budget_reservations to enterprise_ai_app;

create table analytics.budget_holds (
    tenant_id        uuid        not null,
    reservation_id   uuid        not null,
    budget_id        uuid        not null,
    window_starts_at timestamptz not null,

    constraint budget_holds_pkey primary key (tenant_id, reservation_id, budget_id),
    constraint budget_holds_reservation_id_fkey foreign key (tenant_id, reservation_id)
        references analytics.budget_reservations (tenant_id, id) on delete cascade,
    constraint budget_holds_window_fkey foreign key (tenant_id, budget_id, window_starts_at)
        references analytics.budget_windows (tenant_id, budget_id, starts_at) on delete cascade
);

-- What is held in a window, and by which calls.
create index budget_holds_window_idx on analytics.budget_holds (tenant_id, budget_id, window_starts_at);

comment on table analytics.budget_holds is
    'One row for each budget window in which a reservation holds its amount. Kept, not found again: budgets may
have changed by the time the call is over.';

alter table analytics.budget_holds enable row level security;
alter table analytics.budget_holds force row level security;
create policy budget_holds_of_my_tenant on analytics.budget_holds
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.budget_holds to enterprise_ai_app;

--- analytics: billing periods and cost allocations -------------------------------
-- Who bears which cost, in the words of FOCUS 1.3 (FinOps Open Cost and Usage Specification), in snake case.
-- What FOCUS does not have follows after "tags"; an export gives it the prefix x_.

create table analytics.billing_periods (
    tenant_id        uuid            not null,
    starts_at        timestamptz     not null,
    ends_at          timestamptz     not null,
    billing_currency text            not null default 'USD',
    status           text            not null default 'open',
    closed_at        timestamptz,
    closed_by        uuid,
    billed_cost      numeric(24, 12),
    charge_count     bigint,

    constraint billing_periods_pkey primary key (tenant_id, starts_at),
    constraint billing_periods_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint billing_periods_closed_by_fkey foreign key (tenant_id, closed_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint billing_periods_are_months check (
        starts_at at time zone 'UTC' = date_trunc('month', starts_at at time zone 'UTC')
        and ends_at at time zone 'UTC' = starts_at at time zone 'UTC' + interval '1 month'),
    constraint billing_periods_currency_is_iso_4217 check (billing_currency ~ '^[A-Z]{3}$'),
    constraint billing_periods_status_is_known check (status in ('open', 'closed')),
    constraint billing_periods_closed_are_counted check (
        num_nonnulls(closed_at, billed_cost, charge_count) = case when status = 'closed' then 3 else 0 end),
    constraint billing_periods_close_after_they_end check (closed_at >= ends_at),
    constraint billing_periods_only_closed_have_a_closer check (closed_by is null or status = 'closed'),
    constraint billing_periods_charge_count_is_not_negative check (charge_count >= 0)
);

create index billing_periods_closed_by_idx on analytics.billing_periods (tenant_id, closed_by);

comment on table analytics.billing_periods is
    'One row for each month (UTC) that a tenant is charged for. Once closed it stays as it is: what comes to
light later is a charge of class Correction in an open one.';
comment on column analytics.billing_periods.billing_currency is 'The currency of all its charges.';
comment on column analytics.billing_periods.closed_by is 'Who closed it; null when a service did.';
comment on column analytics.billing_periods.billed_cost is 'The sum of its charges when it was closed.';
comment on column analytics.billing_periods.charge_count is 'The number of its charges when it was closed.';

-- >>> sql/analytics/keep_closed_periods.sql
create or replace function analytics._keep_closed_periods()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'The billing period of % is closed', to_char(old.starts_at at time zone 'UTC', 'YYYY-MM')
        using errcode = 'ZN002',
              hint = 'What came to light later is a charge of class Correction in the open period.';
end
$$;

comment on function analytics._keep_closed_periods() is
    'Before-row trigger for closed periods: they stay as they were when they were closed. Raises ZN002.';

revoke all on function analytics._keep_closed_periods() from public;
-- <<<

create trigger keep_closed_periods before update on analytics.billing_periods
    for each row when (old.status = 'closed') execute function analytics._keep_closed_periods();

alter table analytics.billing_periods enable row level security;
alter table analytics.billing_periods force row level security;
create policy billing_periods_of_my_tenant on analytics.billing_periods
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.billing_periods to enterprise_ai_app;

create table analytics.cost_allocations (
    tenant_id                uuid            not null,
    billing_period_start     timestamptz     not null,
    id                       uuid            not null default platform.new_id(),
    billing_period_end       timestamptz     not null,
    billing_currency         text            not null,
    charge_period_start      timestamptz     not null,
    charge_period_end        timestamptz     not null,
    charge_category          text            not null,
    charge_class             text,
    charge_description       text,
    billed_cost              numeric(24, 12) not null,
    effective_cost           numeric(24, 12) not null,
    list_cost                numeric(24, 12) not null,
    contracted_cost          numeric(24, 12) not null,
    consumed_quantity        numeric(24, 12),
    consumed_unit            text,
    pricing_quantity         numeric(24, 12),
    pricing_unit             text,
    list_unit_price          numeric(24, 12),
    contracted_unit_price    numeric(24, 12),
    service_category         text            not null default 'AI and Machine Learning',
    service_subcategory      text            not null default 'Generative AI',
    service_name             text            not null,
    service_provider_name    text            not null,
    sku_id                   text,
    sku_meter                text,
    sku_price_id             text,
    resource_id              text,
    resource_name            text,
    resource_type            text,
    sub_account_id           uuid            not null,
    allocated_method_id      text,
    allocated_method_details jsonb,
    tags                     jsonb           not null default '{}',
    user_id                  uuid,
    usage_log_id             uuid,
    origin_charge_id         uuid,
    recorded_at              timestamptz     not null default now(),

    constraint cost_allocations_pkey primary key (tenant_id, billing_period_start, id),
    constraint cost_allocations_billing_period_is_a_month check (
        billing_period_start at time zone 'UTC' = date_trunc('month', billing_period_start at time zone 'UTC')
        and billing_period_end at time zone 'UTC'
            = billing_period_start at time zone 'UTC' + interval '1 month'),
    constraint cost_allocations_currency_is_iso_4217 check (billing_currency ~ '^[A-Z]{3}$'),
    constraint cost_allocations_charge_period_ends_after_it_starts check (charge_period_end > charge_period_start),
    constraint cost_allocations_charge_category_is_known check (
        charge_category in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment')),
    constraint cost_allocations_charge_class_is_correction check (charge_class = 'Correction'),
    constraint cost_allocations_corrections_are_of_the_past check (
        charge_class is null or charge_period_start < billing_period_start),
    constraint cost_allocations_usage_is_of_its_month check (
        charge_category <> 'Usage' or charge_class is not null
        or (charge_period_start >= billing_period_start and charge_period_end <= billing_period_end)),
    constraint cost_allocations_usage_is_metered check (
        charge_category <> 'Usage' or charge_class is not null
        or num_nonnulls(consumed_quantity, pricing_quantity, sku_id, sku_price_id) = 4),
    constraint cost_allocations_purchases_are_priced check (
        charge_category <> 'Purchase' or charge_class is not null
        or num_nonnulls(pricing_quantity, sku_id, sku_price_id) = 3),
    constraint cost_allocations_only_usage_is_consumed check (
        charge_category = 'Usage' or consumed_quantity is null),
    constraint cost_allocations_taxes_have_no_sku check (
        charge_category <> 'Tax'
        or num_nonnulls(pricing_quantity, list_unit_price, contracted_unit_price,
                        sku_id, sku_meter, sku_price_id) = 0),
    constraint cost_allocations_quantities_have_a_price check (
        sku_price_id is not null or num_nonnulls(consumed_quantity, pricing_quantity) = 0),
    constraint cost_allocations_consumed_quantity_has_a_unit check (
        (consumed_quantity is null) = (consumed_unit is null)),
    constraint cost_allocations_pricing_quantity_has_a_unit check (
        (pricing_quantity is null) = (pricing_unit is null)),
    constraint cost_allocations_skus_are_whole check (
        sku_id is not null or num_nonnulls(sku_meter, sku_price_id) = 0),
    constraint cost_allocations_unit_prices_are_not_negative check (
        list_unit_price >= 0 and contracted_unit_price >= 0),
    constraint cost_allocations_service_category_is_known check (
        service_category in (
            'AI and Machine Learning', 'Analytics', 'Business Applications', 'Compute', 'Databases',
            'Developer Tools', 'Multicloud', 'Identity', 'Integration', 'Internet of Things',
            'Management and Governance', 'Media', 'Migration', 'Mobile', 'Networking', 'Security', 'Storage',
            'Web', 'Other')),
    constraint cost_allocations_resources_have_an_id check (
        resource_id is not null or num_nonnulls(resource_name, resource_type) = 0),
    constraint cost_allocations_shares_have_a_method check (
        allocated_method_details is null or allocated_method_id is not null),
    constraint cost_allocations_shares_have_an_origin check (
        allocated_method_id is null or origin_charge_id is not null),
    constraint cost_allocations_method_details_list_elements check (
        allocated_method_details is null
        or coalesce(jsonb_typeof(allocated_method_details -> 'Elements') = 'array', false)),
    constraint cost_allocations_tags_are_an_object check (jsonb_typeof(tags) = 'object')
) partition by range (billing_period_start);

-- No usage is charged twice: a retried or repeated computation meets the charge it has made already.
create unique index cost_allocations_usage_key
    on analytics.cost_allocations (tenant_id, billing_period_start, usage_log_id, sku_meter)
    where charge_category = 'Usage' and charge_class is null and allocated_method_id is null;
-- What a cost centre bears, what a user has cost, what went to a model: each over time.
create index cost_allocations_sub_account_id_idx
    on analytics.cost_allocations (tenant_id, sub_account_id, charge_period_start);
create index cost_allocations_user_id_idx
    on analytics.cost_allocations (tenant_id, user_id, charge_period_start) where user_id is not null;
create index cost_allocations_resource_id_idx
    on analytics.cost_allocations (tenant_id, resource_id, charge_period_start) where resource_id is not null;
-- From a charge to what was split from it or corrects it.
create index cost_allocations_origin_charge_id_idx
    on analytics.cost_allocations (tenant_id, origin_charge_id) where origin_charge_id is not null;

comment on table analytics.cost_allocations is
    'One row for each charge that a cost centre bears. Nothing is changed once written: corrections are further
rows. Partitioned by billing period, so that the partitions of closed periods stay as they are.';
comment on column analytics.cost_allocations.billing_period_start is
    'The month (UTC) that the charge is billed in, its end being the start of the next.';
comment on column analytics.cost_allocations.charge_period_start is
    'When what is charged took place, from and before when.';
comment on column analytics.cost_allocations.charge_category is
    'Usage, Purchase, Tax, Credit, or Adjustment (what evens out other charges, such as a new rating).';
comment on column analytics.cost_allocations.charge_class is
    'Correction where the charge belongs to a period that was closed before; else null.';
comment on column analytics.cost_allocations.billed_cost is 'What is invoiced.';
comment on column analytics.cost_allocations.effective_cost is
    'What is invoiced, with prepaid amounts spread over their use.';
comment on column analytics.cost_allocations.list_cost is 'What it would be at public prices.';
comment on column analytics.cost_allocations.contracted_cost is 'What it is at the prices agreed on.';
comment on column analytics.cost_allocations.consumed_quantity is
    'What was used, e.g. 1234 with the unit tokens.';
comment on column analytics.cost_allocations.pricing_quantity is
    'The same in the unit of the price, e.g. 0.001234 for 1M tokens.';
comment on column analytics.cost_allocations.sku_id is 'What was sold (llm.llm_model_prices.sku_id).';
comment on column analytics.cost_allocations.sku_meter is
    'What of it was counted (llm.llm_model_prices.meter).';
comment on column analytics.cost_allocations.sku_price_id is
    'The price that was applied, of llm.llm_model_prices or llm.tenant_model_prices.';
comment on column analytics.cost_allocations.resource_id is
    'What was used: of a call of a model its provider and name, openai/gpt-4o; the resource type is then model.';
comment on column analytics.cost_allocations.sub_account_id is
    'The cost centre that bears the charge (analytics.cost_centers).';
comment on column analytics.cost_allocations.allocated_method_id is
    'The rule that gave this share of another charge to the cost centre (analytics.allocation_rules); else null.';
comment on column analytics.cost_allocations.allocated_method_details is
    'How the share was found: {"Elements": [{"AllocatedRatio": 0.25, "UsageUnit": "tokens", "UsageQuantity": 100}]}.';
comment on column analytics.cost_allocations.tags is
    'What the tenant marks charges with, as {"key": "value", …}.';
comment on column analytics.cost_allocations.usage_log_id is
    'The usage that was priced (llm.llm_usage_logs), within the charge period; null when it was no single call.';
comment on column analytics.cost_allocations.origin_charge_id is
    'The charge that this one is a share of, or corrects.';

alter table analytics.cost_allocations enable row level security;
alter table analytics.cost_allocations force row level security;
create policy cost_allocations_of_my_tenant on analytics.cost_allocations
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.cost_allocations to enterprise_ai_app;

select platform.ensure_partitions(
    'analytics.cost_allocations',
    (now() at time zone 'UTC')::date,
    ((now() at time zone 'UTC') + interval '12 months')::date);

--- analytics: allocation rules ---------------------------------------------------
-- How what one centre bears for all is shared out when a billing period closes.

create table analytics.allocation_rules (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    name           text        not null,
    description    text,
    position       integer     not null,
    cost_center_id uuid        not null,
    required_tags  jsonb       not null default '{}',
    basis          text        not null default 'weight',
    valid_from     timestamptz not null,
    valid_until    timestamptz,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),

    constraint allocation_rules_pkey primary key (tenant_id, id),
    constraint allocation_rules_name_key unique (tenant_id, name),
    constraint allocation_rules_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint allocation_rules_cost_center_id_fkey foreign key (tenant_id, cost_center_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint allocation_rules_name_is_not_blank check (name ~ '\S'),
    constraint allocation_rules_required_tags_are_an_object check (jsonb_typeof(required_tags) = 'object'),
    constraint allocation_rules_basis_is_known check (basis in ('weight', 'cost', 'tokens', 'requests')),
    constraint allocation_rules_end_after_they_start check (valid_until > valid_from)
);

-- The rules of a centre in the order they apply.
create index allocation_rules_cost_center_id_idx
    on analytics.allocation_rules (tenant_id, cost_center_id, position);

comment on table analytics.allocation_rules is
    'One row for each rule by which the charges of one cost centre are shared out among others.';
comment on column analytics.allocation_rules.position is
    'Rules apply from the lowest up; a charge is shared out by the first that fits. Ties: the older rule.';
comment on column analytics.allocation_rules.cost_center_id is 'The centre whose charges are shared out.';
comment on column analytics.allocation_rules.required_tags is
    'The rule fits charges with at least these tags; an empty object fits all.';
comment on column analytics.allocation_rules.basis is
    'What shares are in proportion to: the targets'' weights alone, or times the cost, tokens or requests that
each target had itself in the period.';
comment on column analytics.allocation_rules.valid_from is 'Fits charges whose period starts at or after it,';
comment on column analytics.allocation_rules.valid_until is 'and before it; null when it has no end.';

create trigger touch_updated_at before update on analytics.allocation_rules
    for each row execute function platform.touch_updated_at();

alter table analytics.allocation_rules enable row level security;
alter table analytics.allocation_rules force row level security;
create policy allocation_rules_of_my_tenant on analytics.allocation_rules
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on analytics.allocation_rules to enterprise_ai_app;

create table analytics.allocation_rule_targets (
    tenant_id      uuid            not null,
    rule_id        uuid            not null,
    cost_center_id uuid            not null,
    weight         numeric(24, 12) not null default 1,

    constraint allocation_rule_targets_pkey primary key (tenant_id, rule_id, cost_center_id),
    constraint allocation_rule_targets_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint allocation_rule_targets_rule_id_fkey foreign key (tenant_id, rule_id)
        references analytics.allocation_rules (tenant_id, id) on delete cascade,
    constraint allocation_rule_targets_cost_center_id_fkey foreign key (tenant_id, cost_center_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint allocation_rule_targets_weight_is_positive check (weight > 0)
);

create index allocation_rule_targets_cost_center_id_idx
    on analytics.allocation_rule_targets (tenant_id, cost_center_id);

comment on table analytics.allocation_rule_targets is
    'One row for each cost centre that takes a share by a rule.';
comment on column analytics.allocation_rule_targets.weight is
    'How its share compares with the others'': all alike share evenly, 2 takes twice what 1 takes.';

alter table analytics.allocation_rule_targets enable row level security;
alter table analytics.allocation_rule_targets force row level security;
create policy allocation_rule_targets_of_my_tenant on analytics.allocation_rule_targets
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on analytics.allocation_rule_targets to enterprise_ai_app;

--- analytics: usage roll-ups and performance metrics -----------------------------
-- Sums that reports read instead of the logs. Hours and minutes are UTC's: a local day is a sum of hours.

create table analytics.usage_rollups (
    tenant_id                   uuid            not null,
    bucket_at                   timestamptz     not null,
    kind                        text            not null,
    service_name                text            not null,
    resource_name               text            not null,
    user_id                     uuid            not null default '00000000-0000-0000-0000-000000000000',
    cost_center_id              uuid            not null default '00000000-0000-0000-0000-000000000000',
    currency                    text            not null default 'XXX',
    requests                    bigint          not null default 0,
    errors                      bigint          not null default 0,
    input_tokens                bigint          not null default 0,
    cache_read_input_tokens     bigint          not null default 0,
    cache_creation_input_tokens bigint          not null default 0,
    output_tokens               bigint          not null default 0,
    reasoning_output_tokens     bigint          not null default 0,
    cost                        numeric(24, 12) not null default 0,
    duration_ms                 numeric(24, 3)  not null default 0,

    constraint usage_rollups_pkey primary key (
        tenant_id, bucket_at, kind, service_name, resource_name, user_id, cost_center_id, currency),
    constraint usage_rollups_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint usage_rollups_buckets_are_hours check (
        bucket_at at time zone 'UTC' = date_trunc('hour', bucket_at at time zone 'UTC')),
    constraint usage_rollups_kind_is_known check (kind in ('llm', 'api')),
    constraint usage_rollups_currency_is_iso_4217 check (currency ~ '^[A-Z]{3}$'),
    constraint usage_rollups_counts_are_not_negative check (
        least(requests, errors, input_tokens, cache_read_input_tokens, cache_creation_input_tokens,
              output_tokens, reasoning_output_tokens) >= 0
        and duration_ms >= 0),
    constraint usage_rollups_errors_are_requests check (errors <= requests),
    constraint usage_rollups_cached_tokens_are_input check (
        cache_read_input_tokens + cache_creation_input_tokens <= input_tokens),
    constraint usage_rollups_reasoning_tokens_are_output check (reasoning_output_tokens <= output_tokens),
    constraint usage_rollups_api_calls_have_no_tokens check (kind = 'llm' or input_tokens + output_tokens = 0)
);

-- The primary key serves "everything in a period"; these, one user, centre or model over time.
create index usage_rollups_user_id_idx on analytics.usage_rollups (tenant_id, user_id, bucket_at);
create index usage_rollups_cost_center_id_idx on analytics.usage_rollups (tenant_id, cost_center_id, bucket_at);
create index usage_rollups_resource_name_idx
    on analytics.usage_rollups (tenant_id, kind, service_name, resource_name, bucket_at);

comment on table analytics.usage_rollups is
    'One row for each hour (UTC), model or route, user and cost centre with usage, holding the sums of its log rows.';
comment on column analytics.usage_rollups.bucket_at is 'The start of the hour.';
comment on column analytics.usage_rollups.kind is
    'llm: from llm.llm_usage_logs; api: from analytics.api_usage_logs.';
comment on column analytics.usage_rollups.service_name is
    'The provider of the model (llm) or the service called (api).';
comment on column analytics.usage_rollups.resource_name is
    'The model that answered (llm) or the route (api).';
comment on column analytics.usage_rollups.user_id is
    'The nil UUID stands for no user, as it does for no cost centre: a key has no nulls.';
comment on column analytics.usage_rollups.currency is
    'The currency of the cost; XXX (ISO 4217: none) without one.';
comment on column analytics.usage_rollups.duration_ms is
    'The sum of the durations; divided by requests, the mean.';

alter table analytics.usage_rollups enable row level security;
alter table analytics.usage_rollups force row level security;
create policy usage_rollups_of_my_tenant on analytics.usage_rollups
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.usage_rollups to enterprise_ai_app;

create table analytics.usage_rollup_watermarks (
    tenant_id      uuid        not null,
    kind           text        not null,
    complete_until timestamptz not null,

    constraint usage_rollup_watermarks_pkey primary key (tenant_id, kind),
    constraint usage_rollup_watermarks_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint usage_rollup_watermarks_kind_is_known check (kind in ('llm', 'api'))
);

comment on table analytics.usage_rollup_watermarks is
    'One row for each kind of roll-up of a tenant, with the moment up to which it equals the sum of the logs.';

alter table analytics.usage_rollup_watermarks enable row level security;
alter table analytics.usage_rollup_watermarks force row level security;
create policy usage_rollup_watermarks_of_my_tenant on analytics.usage_rollup_watermarks
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.usage_rollup_watermarks to enterprise_ai_app;

create table analytics.performance_metrics (
    tenant_id     uuid            not null,
    bucket_at     timestamptz     not null,
    service_name  text            not null,
    metric_name   text            not null,
    resource_name text            not null default '',
    unit          text            not null,
    samples       bigint          not null,
    total         numeric(24, 6)  not null,
    minimum       numeric(24, 6)  not null,
    maximum       numeric(24, 6)  not null,
    bounds        numeric[]       not null default '{}',
    bucket_counts bigint[]        not null,

    constraint performance_metrics_pkey primary key (
        tenant_id, bucket_at, service_name, metric_name, resource_name),
    constraint performance_metrics_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint performance_metrics_buckets_are_minutes check (
        bucket_at at time zone 'UTC' = date_trunc('minute', bucket_at at time zone 'UTC')),
    constraint performance_metrics_metric_name_is_dotted check (metric_name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
    constraint performance_metrics_have_samples check (samples > 0),
    constraint performance_metrics_mean_is_within_its_range check (
        total between minimum * samples and maximum * samples),
    constraint performance_metrics_buckets_lie_between_bounds check (
        cardinality(bucket_counts) = cardinality(bounds) + 1)
);

-- One metric of a service over time.
create index performance_metrics_metric_name_idx
    on analytics.performance_metrics (tenant_id, service_name, metric_name, resource_name, bucket_at);

comment on table analytics.performance_metrics is
    'One row for each minute (UTC) and metric of a service in which a tenant''s calls gave samples.';
comment on column analytics.performance_metrics.metric_name is
    'The OpenTelemetry name where there is one, e.g. gen_ai.client.operation.duration.';
comment on column analytics.performance_metrics.resource_name is
    'The model or route measured; empty for the service as a whole.';
comment on column analytics.performance_metrics.unit is 'The unit in UCUM, e.g. ms, s, By, {token}.';
comment on column analytics.performance_metrics.bounds is
    'Where the histogram''s buckets meet, ascending, each bound belonging to the bucket below it.';
comment on column analytics.performance_metrics.bucket_counts is
    'How many samples fell into each bucket: rows add up to longer periods, and percentiles are read from the sums.';

alter table analytics.performance_metrics enable row level security;
alter table analytics.performance_metrics force row level security;
create policy performance_metrics_of_my_tenant on analytics.performance_metrics
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert on analytics.performance_metrics to enterprise_ai_app;
grant update (samples, total, minimum, maximum, bucket_counts) on analytics.performance_metrics
    to enterprise_ai_app;

--- analytics: reports ------------------------------------------------------------

create table analytics.analytics_reports (
    tenant_id       uuid        not null,
    id              uuid        not null default platform.new_id(),
    owner_id        uuid,
    name            text        not null,
    description     text,
    dataset         text        not null,
    definition      jsonb       not null,
    time_zone       text        not null default 'UTC',
    schedule_period text,
    next_run_at     timestamptz,
    is_shared       boolean     not null default false,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),

    constraint analytics_reports_pkey primary key (tenant_id, id),
    constraint analytics_reports_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint analytics_reports_owner_id_fkey foreign key (tenant_id, owner_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint analytics_reports_name_key unique (tenant_id, name),
    constraint analytics_reports_name_is_not_blank check (name ~ '\S'),
    constraint analytics_reports_dataset_is_known check (
        dataset in ('usage', 'cost', 'budgets', 'api_calls', 'sessions', 'performance')),
    constraint analytics_reports_definition_has_measures check (
        coalesce(jsonb_typeof(definition -> 'measures') = 'array', false)),
    constraint analytics_reports_time_zone_is_iana check (
        time_zone ~ '^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$'
        and timestamp '2000-01-01' at time zone time_zone is not null),
    constraint analytics_reports_schedule_period_is_known check (
        schedule_period in ('day', 'week', 'month', 'quarter')),
    constraint analytics_reports_scheduled_have_a_next_run check (
        (schedule_period is null) = (next_run_at is null))
);

-- Somebody's reports.
create index analytics_reports_owner_id_idx on analytics.analytics_reports (tenant_id, owner_id);
-- What is due.
create index analytics_reports_next_run_at_idx on analytics.analytics_reports (tenant_id, next_run_at)
    where next_run_at is not null;

comment on table analytics.analytics_reports is
    'One row for each report that a tenant has defined.';
comment on column analytics.analytics_reports.owner_id is
    'Whose it is; null for one that came with the tenant.';
comment on column analytics.analytics_reports.definition is
    'What is asked of the dataset: {"measures": ["cost"], "dimensions": ["cost_center"], "filters": {"model": ["gpt-4o"]},
"period": "last_month"}; all but measures may be left out.';
comment on column analytics.analytics_reports.time_zone is
    'An IANA time zone name: whose days and months the report has.';
comment on column analytics.analytics_reports.schedule_period is
    'How often it runs by itself; null when only on demand.';
comment on column analytics.analytics_reports.is_shared is
    'Everybody who may see reports sees it, not its owner alone.';

create trigger touch_updated_at before update on analytics.analytics_reports
    for each row execute function platform.touch_updated_at();

alter table analytics.analytics_reports enable row level security;
alter table analytics.analytics_reports force row level security;
create policy analytics_reports_of_my_tenant on analytics.analytics_reports
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- What is not shared only its owner sees; one that came with the tenant is everybody's who may see reports.
create policy analytics_reports_that_i_may_see on analytics.analytics_reports
    as restrictive for select to enterprise_ai_app
    using (array[owner_id, case when is_shared or owner_id is null then tenant_id end, id]
               && (select authz.open_scopes('analytics.read'))
           or (select authz.hidden_scopes('analytics.read')) <> '{}'
              and array[owner_id, case when is_shared or owner_id is null then tenant_id end, id]
                  && (select authz.visible_scopes('analytics.read'))
              and id <> all ((select authz.hidden_scopes('analytics.read'))::uuid[]));
grant select, insert, update, delete on analytics.analytics_reports to enterprise_ai_app;

create table analytics.report_executions (
    tenant_id        uuid        not null,
    id               uuid        not null default platform.new_id(),
    report_id        uuid        not null,
    requested_by     uuid,
    due_at           timestamptz,
    status           text        not null default 'queued',
    covers_from      timestamptz,
    covers_until     timestamptz,
    queued_at        timestamptz not null default now(),
    started_at       timestamptz,
    lease_expires_at timestamptz,
    finished_at      timestamptz,
    row_count        bigint,
    result           jsonb,
    error            text,

    constraint report_executions_pkey primary key (tenant_id, id),
    constraint report_executions_due_at_key unique (tenant_id, report_id, due_at),
    constraint report_executions_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint report_executions_report_id_fkey foreign key (tenant_id, report_id)
        references analytics.analytics_reports (tenant_id, id) on delete cascade,
    constraint report_executions_requested_by_fkey foreign key (tenant_id, requested_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint report_executions_are_requested_or_due check (num_nonnulls(requested_by, due_at) = 1),
    constraint report_executions_status_is_known check (
        status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    constraint report_executions_running_have_a_lease check ((status = 'running') = (lease_expires_at is not null)),
    constraint report_executions_running_have_started check (
        status not in ('running', 'succeeded') or started_at is not null),
    constraint report_executions_finished_say_when check (
        (status in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint report_executions_succeeded_have_a_result check (
        num_nonnulls(covers_from, covers_until, row_count, result)
            = case when status = 'succeeded' then 4 else 0 end),
    constraint report_executions_failed_say_why check ((status = 'failed') = (error is not null)),
    constraint report_executions_cover_a_period check (covers_until > covers_from),
    constraint report_executions_run_after_they_are_queued check (started_at >= queued_at),
    constraint report_executions_finish_after_they_start check (finished_at >= coalesce(started_at, queued_at)),
    constraint report_executions_result_is_a_list check (jsonb_typeof(result) = 'array')
);

-- The runs of a report, newest first; what somebody asked for.
create index report_executions_report_id_idx on analytics.report_executions (tenant_id, report_id, queued_at desc);
create index report_executions_requested_by_idx
    on analytics.report_executions (tenant_id, requested_by, queued_at desc);
-- What waits, oldest first, and what has outlived its lease.
create index report_executions_queued_at_idx on analytics.report_executions (tenant_id, queued_at)
    where status = 'queued';
create index report_executions_lease_expires_at_idx on analytics.report_executions (tenant_id, lease_expires_at)
    where status = 'running';

comment on table analytics.report_executions is
    'One row for each run of a report, with its result.';
comment on column analytics.report_executions.due_at is
    'The moment of the schedule that it stands for, so that no moment is run twice; null when somebody asked.';
comment on column analytics.report_executions.lease_expires_at is
    'Until when the worker has it; one that died leaves it to the next after that.';
comment on column analytics.report_executions.covers_from is 'The period that the result is of, half open.';
comment on column analytics.report_executions.result is
    'The rows, as [{"dimension or measure": value, …}, …].';

alter table analytics.report_executions enable row level security;
alter table analytics.report_executions force row level security;
create policy report_executions_of_my_tenant on analytics.report_executions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
create policy report_executions_that_i_may_see on analytics.report_executions
    as restrictive for select to enterprise_ai_app
    using (exists (
        select
        from analytics.analytics_reports as r
        where r.tenant_id = report_executions.tenant_id and r.id = report_executions.report_id));
grant select on analytics.report_executions to enterprise_ai_app;
-- An application asks for a run; only whoever runs it says how it went.
grant insert (tenant_id, id, report_id, requested_by) on analytics.report_executions to enterprise_ai_app;

--- analytics: monitors -----------------------------------------------------------

create table analytics.monitors (
    tenant_id         uuid            not null,
    id                uuid            not null default platform.new_id(),
    name              text            not null,
    description       text,
    measure           text            not null,
    service_name      text,
    resource_name     text,
    cost_center_id    uuid,
    budget_id         uuid,
    comparison        text            not null default 'above',
    threshold         numeric(24, 12) not null,
    evaluation_window interval        not null default '5 minutes',
    baseline_window   interval,
    severity          text            not null default 'warning',
    is_enabled        boolean         not null default true,
    last_evaluated_at timestamptz,
    created_at        timestamptz     not null default now(),
    updated_at        timestamptz     not null default now(),

    constraint monitors_pkey primary key (tenant_id, id),
    constraint monitors_name_key unique (tenant_id, name),
    constraint monitors_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint monitors_cost_center_id_fkey foreign key (tenant_id, cost_center_id)
        references analytics.cost_centers (tenant_id, id) on delete no action,
    constraint monitors_budget_id_fkey foreign key (tenant_id, budget_id)
        references analytics.budgets (tenant_id, id) on delete cascade,
    constraint monitors_name_is_not_blank check (name ~ '\S'),
    constraint monitors_measure_is_known check (
        measure in ('requests', 'errors', 'error_ratio', 'input_tokens', 'output_tokens', 'cost',
                    'duration_p50_ms', 'duration_p95_ms', 'duration_p99_ms', 'budget_used_ratio')),
    constraint monitors_of_a_budget_name_it check ((measure = 'budget_used_ratio') = (budget_id is not null)),
    constraint monitors_of_a_budget_watch_nothing_else check (
        budget_id is null or num_nonnulls(service_name, resource_name, cost_center_id, baseline_window) = 0),
    constraint monitors_resources_have_a_service check (resource_name is null or service_name is not null),
    constraint monitors_comparison_is_known check (comparison in ('above', 'below')),
    constraint monitors_threshold_is_not_negative check (threshold >= 0),
    constraint monitors_windows_are_positive check (evaluation_window > '0'),
    constraint monitors_baseline_is_longer_than_the_window check (baseline_window > evaluation_window),
    constraint monitors_severity_is_known check (severity in ('info', 'warning', 'critical'))
);

create index monitors_cost_center_id_idx on analytics.monitors (tenant_id, cost_center_id);
create index monitors_budget_id_idx on analytics.monitors (tenant_id, budget_id);
-- What has gone longest without being looked at.
create index monitors_last_evaluated_at_idx on analytics.monitors (tenant_id, last_evaluated_at nulls first)
    where is_enabled;

comment on table analytics.monitors is
    'One row for each measure that is watched, and when somebody is to be told.';
comment on column analytics.monitors.service_name is
    'What is watched, as in analytics.usage_rollups; null for everything in the tenant.';
comment on column analytics.monitors.threshold is
    'Fires when the measure is above (below) it; with a baseline, above (below) so many times the baseline''s mean.';
comment on column analytics.monitors.evaluation_window is
    'Over how long the measure is taken, up to the evaluation.';
comment on column analytics.monitors.baseline_window is
    'How far back the mean is taken that the measure is compared with; null to compare with the threshold itself.';

create trigger touch_updated_at before update on analytics.monitors
    for each row execute function platform.touch_updated_at();

alter table analytics.monitors enable row level security;
alter table analytics.monitors force row level security;
create policy monitors_of_my_tenant on analytics.monitors
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, delete on analytics.monitors to enterprise_ai_app;
-- When it was last evaluated is for the evaluation to say.
grant insert (tenant_id, id, name, description, measure, service_name, resource_name, cost_center_id, budget_id,
              comparison, threshold, evaluation_window, baseline_window, severity, is_enabled),
      update (name, description, measure, service_name, resource_name, cost_center_id, budget_id,
              comparison, threshold, evaluation_window, baseline_window, severity, is_enabled)
    on analytics.monitors to enterprise_ai_app;

create table analytics.monitor_events (
    tenant_id       uuid            not null,
    id              uuid            not null default platform.new_id(),
    monitor_id      uuid            not null,
    severity        text            not null,
    value           numeric(24, 12) not null,
    threshold       numeric(24, 12) not null,
    fired_at        timestamptz     not null default now(),
    acknowledged_at timestamptz,
    acknowledged_by uuid,
    resolved_at     timestamptz,

    constraint monitor_events_pkey primary key (tenant_id, id),
    constraint monitor_events_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint monitor_events_monitor_id_fkey foreign key (tenant_id, monitor_id)
        references analytics.monitors (tenant_id, id) on delete cascade,
    constraint monitor_events_acknowledged_by_fkey foreign key (tenant_id, acknowledged_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint monitor_events_severity_is_known check (severity in ('info', 'warning', 'critical')),
    constraint monitor_events_acknowledged_say_by_whom check (
        (acknowledged_at is null) = (acknowledged_by is null)),
    constraint monitor_events_are_acknowledged_after_they_fire check (acknowledged_at >= fired_at),
    constraint monitor_events_resolve_after_they_fire check (resolved_at >= fired_at)
);

-- A monitor that goes on firing is still the one event.
create unique index monitor_events_open_key on analytics.monitor_events (tenant_id, monitor_id)
    where resolved_at is null;
-- The history of a monitor; everything that fired lately.
create index monitor_events_monitor_id_idx on analytics.monitor_events (tenant_id, monitor_id, fired_at desc);
create index monitor_events_fired_at_idx on analytics.monitor_events (tenant_id, fired_at desc);
create index monitor_events_acknowledged_by_idx on analytics.monitor_events (tenant_id, acknowledged_by);

comment on table analytics.monitor_events is
    'One row for each time a monitor fired, until what it watches is back within its threshold.';
comment on column analytics.monitor_events.severity is 'The monitor''s severity when it fired.';
comment on column analytics.monitor_events.value is
    'The measure when it fired, and the threshold it was compared with.';

alter table analytics.monitor_events enable row level security;
alter table analytics.monitor_events force row level security;
create policy monitor_events_of_my_tenant on analytics.monitor_events
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on analytics.monitor_events to enterprise_ai_app;
grant update (acknowledged_at, acknowledged_by) on analytics.monitor_events to enterprise_ai_app;

--- security: data classifications ------------------------------------------------
-- How sensitive data is, and what follows from it. The rules are columns, so that masking, auditing,
-- model calls and exports read them instead of knowing the levels by name.

create table security.data_classifications (
    name                         text        not null,
    rank                         smallint    not null,
    display_name                 text        not null,
    description                  text        not null,
    requires_encryption          boolean     not null,
    is_masked                    boolean     not null,
    is_access_logged             boolean     not null,
    audit_image                  text        not null,
    allows_external_models       boolean     not null,
    allows_export                boolean     not null,
    minimum_authentication_level smallint    constraint data_classifications_level_not_null not null,
    created_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint data_classifications_pkey primary key (name),
    constraint data_classifications_rank_key unique (rank),
    constraint data_classifications_name_is_a_slug check (name ~ '^[a-z][a-z0-9_]*$'),
    constraint data_classifications_rank_is_positive check (rank > 0),
    constraint data_classifications_audit_image_is_known check (
        audit_image in ('plain', 'protected', 'omitted')),
    constraint data_classifications_level_is_known check (minimum_authentication_level between 1 and 3)
);

comment on table security.data_classifications is
    'One row for each level of sensitivity, with the handling that it asks for.';
comment on column security.data_classifications.rank is 'A higher rank is more sensitive.';
comment on column security.data_classifications.requires_encryption is
    'Values are stored encrypted or hashed, on top of whatever encrypts the disk.';
comment on column security.data_classifications.is_masked is
    'Readers without the revealing permission see values through security.masking_policies.';
comment on column security.data_classifications.is_access_logged is 'Reading values writes an audit event.';
comment on column security.data_classifications.audit_image is
    'How values appear in row versions: plain; protected, as a keyed commitment or ciphertext, so that erasure
does not break the ledger; or omitted.';
comment on column security.data_classifications.allows_external_models is
    'Values may be sent to a model that somebody else runs.';
comment on column security.data_classifications.allows_export is 'Values may leave in reports and extracts.';
comment on column security.data_classifications.minimum_authentication_level is
    'NIST SP 800-63 authenticator assurance level, 1 to 3, that a session needs to see values unmasked.';

create trigger touch_updated_at before update on security.data_classifications
    for each row execute function platform.touch_updated_at();

grant select on security.data_classifications to enterprise_ai_app;
grant select, insert, update, delete on security.data_classifications to enterprise_ai_operator;

create table security.pii_categories (
    name                text        not null,
    classification      text        not null,
    display_name        text        not null,
    is_special_category boolean     not null default false,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),

    constraint pii_categories_pkey primary key (name),
    constraint pii_categories_classification_fkey foreign key (classification)
        references security.data_classifications (name) on delete no action,
    constraint pii_categories_name_is_a_slug check (name ~ '^[a-z][a-z0-9_]*$')
);

create index pii_categories_classification_idx on security.pii_categories (classification);

comment on table security.pii_categories is 'One row for each kind of personal data that is told apart.';
comment on column security.pii_categories.classification is
    'The lowest classification that data of this kind may have.';
comment on column security.pii_categories.is_special_category is
    'GDPR Art. 9 gives it special protection: health, biometrics, beliefs and the like.';

create trigger touch_updated_at before update on security.pii_categories
    for each row execute function platform.touch_updated_at();

grant select on security.pii_categories to enterprise_ai_app;
grant select, insert, update, delete on security.pii_categories to enterprise_ai_operator;

create table security.data_elements (
    schema_name    text        not null,
    table_name     text        not null,
    column_name    text        not null,
    name           text        not null generated always as (
        schema_name || '.' || table_name || '.' || column_name) stored,
    classification text        not null,
    pii_category   text,
    description    text        not null,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),

    constraint data_elements_pkey primary key (schema_name, table_name, column_name),
    constraint data_elements_name_key unique (name),
    constraint data_elements_classification_fkey foreign key (classification)
        references security.data_classifications (name) on delete no action,
    constraint data_elements_pii_category_fkey foreign key (pii_category)
        references security.pii_categories (name) on delete no action
);

create index data_elements_classification_idx on security.data_elements (classification);
create index data_elements_pii_category_idx on security.data_elements (pii_category);

comment on table security.data_elements is
    'One row for each column that holds personal, confidential or secret data; what is not listed is internal.';
comment on column security.data_elements.name is 'schema.table.column: what other tables refer to.';
comment on column security.data_elements.pii_category is
    'The kind of personal data; null when it is about nobody.';

create trigger touch_updated_at before update on security.data_elements
    for each row execute function platform.touch_updated_at();

grant select on security.data_elements to enterprise_ai_app;
grant select, insert, update, delete on security.data_elements to enterprise_ai_operator;

--- security: detection of personal data ------------------------------------------

create table security.pii_detectors (
    name              text         not null,
    pii_category      text         not null,
    display_name      text         not null,
    pattern           text         not null,
    is_case_sensitive boolean      not null default false,
    validator         text,
    confidence        numeric(3,2) not null,
    examples          text[]       not null,
    counterexamples   text[]       not null default '{}',
    is_enabled        boolean      not null default true,
    created_at        timestamptz  not null default now(),
    updated_at        timestamptz  not null default now(),

    constraint pii_detectors_pkey primary key (name),
    constraint pii_detectors_pii_category_fkey foreign key (pii_category)
        references security.pii_categories (name) on delete no action,
    constraint pii_detectors_name_is_a_slug check (name ~ '^[a-z][a-z0-9_]*$'),
    -- PostgreSQL itself refuses a malformed expression here, when it is written and not when a text is scanned.
    constraint pii_detectors_pattern_is_valid check (('' ~ pattern) is not null),
    constraint pii_detectors_pattern_needs_some_text check ('' !~ pattern),
    constraint pii_detectors_validator_is_known check (
        validator in ('luhn', 'iban', 'nhs_number', 'ip_address')),
    constraint pii_detectors_confidence_is_a_probability check (confidence > 0 and confidence <= 1),
    constraint pii_detectors_show_an_example check (cardinality(examples) > 0)
);

create index pii_detectors_pii_category_idx on security.pii_detectors (pii_category);

comment on table security.pii_detectors is
    'One row for each way to recognise personal data in text.';
comment on column security.pii_detectors.pattern is 'An advanced regular expression as PostgreSQL reads it.';
comment on column security.pii_detectors.validator is
    'The check that what the pattern found must also pass, such as a check digit; null when the pattern is enough.';
comment on column security.pii_detectors.confidence is
    'How likely a text that passed is what it seems, up to 1.';
comment on column security.pii_detectors.examples is 'Texts that the pattern and the validator both accept.';
comment on column security.pii_detectors.counterexamples is
    'Look-alikes that the pattern or the validator refuses.';

create trigger touch_updated_at before update on security.pii_detectors
    for each row execute function platform.touch_updated_at();

grant select on security.pii_detectors to enterprise_ai_app;
grant select, insert, update, delete on security.pii_detectors to enterprise_ai_operator;

create table security.pii_findings (
    tenant_id     uuid         not null,
    id            uuid         not null default platform.new_id(),
    data_element  text         not null,
    record_id     uuid         not null,
    detector_name text         not null,
    start_offset  integer      not null,
    end_offset    integer      not null,
    value_hash    bytea        not null,
    confidence    numeric(3,2) not null,
    status        text         not null default 'open',
    remedy        text,
    reviewer_id   uuid,
    reviewed_at   timestamptz,
    found_at      timestamptz  not null default now(),

    constraint pii_findings_pkey primary key (tenant_id, id),
    -- Scanning the same text again finds the same rows.
    constraint pii_findings_place_key unique (tenant_id, data_element, record_id, detector_name, start_offset),
    constraint pii_findings_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint pii_findings_data_element_fkey foreign key (data_element)
        references security.data_elements (name) on delete no action,
    constraint pii_findings_detector_name_fkey foreign key (detector_name)
        references security.pii_detectors (name) on delete no action,
    constraint pii_findings_reviewer_id_fkey foreign key (tenant_id, reviewer_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint pii_findings_cover_some_text check (start_offset >= 0 and end_offset > start_offset),
    constraint pii_findings_value_hash_is_sha256 check (octet_length(value_hash) = 32),
    constraint pii_findings_confidence_is_a_probability check (confidence > 0 and confidence <= 1),
    constraint pii_findings_status_is_known check (
        status in ('open', 'confirmed', 'false_positive', 'remedied')),
    constraint pii_findings_remedy_is_known check (remedy in ('masked', 'encrypted', 'deleted', 'accepted')),
    constraint pii_findings_remedied_say_how check ((status = 'remedied') = (remedy is not null)),
    constraint pii_findings_open_are_not_reviewed check (status <> 'open' or reviewed_at is null),
    constraint pii_findings_reviewers_leave_a_date check (reviewer_id is null or reviewed_at is not null)
);

create index pii_findings_data_element_idx on security.pii_findings (data_element, tenant_id);
create index pii_findings_detector_name_idx on security.pii_findings (detector_name, tenant_id);
create index pii_findings_reviewer_id_idx on security.pii_findings (tenant_id, reviewer_id);
-- What waits for review, oldest first.
create index pii_findings_open_idx on security.pii_findings (tenant_id, found_at) where status = 'open';
-- Where else the same value turned up.
create index pii_findings_value_hash_idx on security.pii_findings (tenant_id, value_hash);

comment on table security.pii_findings is
    'One row for each piece of personal data found in a text. The data itself is never copied here.';
comment on column security.pii_findings.record_id is 'The id of the row whose column was scanned.';
comment on column security.pii_findings.start_offset is
    'In characters from the beginning of the text, the first being 0.';
comment on column security.pii_findings.end_offset is 'The first character after the finding.';
comment on column security.pii_findings.value_hash is
    'HMAC-SHA-256 of the value under a key of the tenant: equal values can be told, and none recovered.';
comment on column security.pii_findings.reviewer_id is 'Who decided; null when a rule did.';

alter table security.pii_findings enable row level security;
alter table security.pii_findings force row level security;
create policy pii_findings_of_my_tenant on security.pii_findings
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- All but the hash.
grant select (tenant_id, id, data_element, record_id, detector_name, start_offset, end_offset, confidence,
              status, remedy, reviewer_id, reviewed_at, found_at)
    on security.pii_findings to enterprise_ai_app;
grant update (status, remedy, reviewer_id, reviewed_at) on security.pii_findings to enterprise_ai_app;

--- security: masking -------------------------------------------------------------
-- What those see who may not see the value. The narrowest policy wins: the element's own, then its kind of
-- personal data, then its classification.

create table security.masking_policies (
    name           text        not null,
    classification text,
    pii_category   text,
    data_element   text,
    method         text        not null,
    parameters     jsonb       not null default '{}',
    description    text        not null,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),

    constraint masking_policies_pkey primary key (name),
    constraint masking_policies_classification_key unique (classification),
    constraint masking_policies_pii_category_key unique (pii_category),
    constraint masking_policies_data_element_key unique (data_element),
    constraint masking_policies_classification_fkey foreign key (classification)
        references security.data_classifications (name) on delete cascade,
    constraint masking_policies_pii_category_fkey foreign key (pii_category)
        references security.pii_categories (name) on delete cascade,
    constraint masking_policies_data_element_fkey foreign key (data_element)
        references security.data_elements (name) on delete cascade,
    constraint masking_policies_name_is_a_slug check (name ~ '^[a-z][a-z0-9_]*$'),
    constraint masking_policies_have_one_target check (
        num_nonnulls(classification, pii_category, data_element) = 1),
    constraint masking_policies_method_is_known check (
        method in ('nullify', 'redact', 'partial', 'generalize', 'pseudonymize')),
    constraint masking_policies_parameters_are_an_object check (jsonb_typeof(parameters) = 'object')
);

comment on table security.masking_policies is
    'One row for each rule by which values are masked: for a classification, a kind of personal data or one column.';
comment on column security.masking_policies.method is
    'nullify: no value. redact: a fixed text. partial: the ends stay. generalize: coarser (a year, a network).
pseudonymize: the same stand-in for the same value within a tenant.';
comment on column security.masking_policies.parameters is
    'redact {"text"}, partial {"keep_first", "keep_last", "keep_from"} (keep_from: a character from which all stays),
generalize {"date_part"} or {"ipv4_bits", "ipv6_bits"}; else {}.';

create trigger touch_updated_at before update on security.masking_policies
    for each row execute function platform.touch_updated_at();

grant select on security.masking_policies to enterprise_ai_app;
grant select, insert, update, delete on security.masking_policies to enterprise_ai_operator;

create table security.tenant_masking_policies (
    tenant_id   uuid        not null,
    policy_name text        not null,
    method      text        not null,
    parameters  jsonb       not null default '{}',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint tenant_masking_policies_pkey primary key (tenant_id, policy_name),
    constraint tenant_masking_policies_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint tenant_masking_policies_policy_name_fkey foreign key (policy_name)
        references security.masking_policies (name) on delete cascade,
    constraint tenant_masking_policies_method_is_known check (
        method in ('nullify', 'redact', 'partial', 'generalize', 'pseudonymize')),
    constraint tenant_masking_policies_parameters_are_an_object check (jsonb_typeof(parameters) = 'object')
);

create index tenant_masking_policies_policy_name_idx on security.tenant_masking_policies (policy_name);

comment on table security.tenant_masking_policies is
    'One row for each masking policy that a tenant carries out in its own way.';
comment on column security.tenant_masking_policies.parameters is 'Shaped as in security.masking_policies.';

create trigger touch_updated_at before update on security.tenant_masking_policies
    for each row execute function platform.touch_updated_at();

alter table security.tenant_masking_policies enable row level security;
alter table security.tenant_masking_policies force row level security;
create policy tenant_masking_policies_of_my_tenant on security.tenant_masking_policies
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on security.tenant_masking_policies to enterprise_ai_app;

--- security: encryption ----------------------------------------------------------
-- Keys are wrapped by a key that never enters the database; destroying one makes what it protected
-- unreadable everywhere, backups included.

create table security.encryption_keys (
    tenant_id          uuid        not null,
    id                 uuid        not null default platform.new_id(),
    purpose            text        not null,
    version            integer     not null,
    algorithm          text        not null default 'aes-256-gcm',
    wrapped_key        bytea,
    wrapping_key_uri   text        not null,
    wrapping_algorithm text        not null,
    status             text        not null default 'pending',
    rotate_at          timestamptz,
    created_at         timestamptz not null default now(),
    activated_at       timestamptz,
    retired_at         timestamptz,
    destroyed_at       timestamptz,

    constraint encryption_keys_pkey primary key (tenant_id, id),
    constraint encryption_keys_version_key unique (tenant_id, purpose, version),
    constraint encryption_keys_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint encryption_keys_purpose_is_a_slug check (purpose ~ '^[a-z][a-z0-9_]*$'),
    constraint encryption_keys_versions_count_from_one check (version >= 1),
    constraint encryption_keys_algorithm_is_known check (
        algorithm in ('aes-256-gcm', 'chacha20-poly1305', 'hmac-sha-256')),
    constraint encryption_keys_status_is_known check (
        status in ('pending', 'active', 'retired', 'compromised', 'destroyed')),
    -- A wrapped key is longer than the 32 bytes it wraps; a bare one would not pass.
    constraint encryption_keys_are_wrapped check (octet_length(wrapped_key) > 32),
    constraint encryption_keys_only_destroyed_ones_are_gone check (
        (status = 'destroyed') = (wrapped_key is null)),
    constraint encryption_keys_destroyed_say_when check ((status = 'destroyed') = (destroyed_at is not null)),
    constraint encryption_keys_active_were_activated check (
        status in ('pending', 'destroyed') or activated_at is not null),
    constraint encryption_keys_retired_say_when check (status <> 'retired' or retired_at is not null),
    constraint encryption_keys_rotate_after_they_start check (rotate_at > activated_at)
);

-- New values are written under the one active key of a purpose.
create unique index encryption_keys_active_key on security.encryption_keys (tenant_id, purpose)
    where status = 'active';
-- What is due for rotation.
create index encryption_keys_rotate_at_idx on security.encryption_keys (tenant_id, rotate_at)
    where status = 'active';

comment on table security.encryption_keys is
    'One row for each version of a data key of a tenant, wrapped by a key outside the database. Granted to nobody.';
comment on column security.encryption_keys.purpose is
    'What it protects, e.g. message_contents; versions count per purpose.';
comment on column security.encryption_keys.wrapped_key is
    'The key, encrypted by the wrapping key; gone once destroyed.';
comment on column security.encryption_keys.wrapping_key_uri is
    'Where the wrapping key lives, e.g. a key of a cloud''s key service, a PKCS #11 token or an environment variable.';
comment on column security.encryption_keys.wrapping_algorithm is
    'How it was wrapped, e.g. aes-256-kwp (RFC 5649).';
comment on column security.encryption_keys.rotate_at is 'When the next version is due.';

-- >>> sql/security/deadlines.sql
create or replace function security._set_due_at()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    new.due_at := new.received_at
        + make_interval(days => platform.setting('security.subject_request_days')::integer);
    return new;
end
$$;

comment on function security._set_due_at() is
    'Before-row trigger: a request that does not say by when it is due is due after security.subject_request_days.';

revoke all on function security._set_due_at() from public;


create or replace function security._set_rotate_at()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    new.rotate_at := new.activated_at
        + make_interval(days => platform.setting('security.encryption_key_rotation_days')::integer);
    return new;
end
$$;

comment on function security._set_rotate_at() is
    'Before-row trigger: a key that becomes active without a date is due for rotation after
security.encryption_key_rotation_days.';

revoke all on function security._set_rotate_at() from public;
-- <<<

create trigger set_rotate_at before insert or update on security.encryption_keys
    for each row when (new.status = 'active' and new.rotate_at is null) execute function security._set_rotate_at();

alter table security.encryption_keys enable row level security;
alter table security.encryption_keys force row level security;
create policy encryption_keys_of_my_tenant on security.encryption_keys
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table security.encrypted_data_registry (
    tenant_id          uuid        not null,
    data_element       text        not null,
    key_id             uuid        not null,
    row_count          bigint      not null default 0,
    first_encrypted_at timestamptz not null default now(),
    last_encrypted_at  timestamptz not null default now(),

    constraint encrypted_data_registry_pkey primary key (tenant_id, data_element, key_id),
    constraint encrypted_data_registry_data_element_fkey foreign key (data_element)
        references security.data_elements (name) on delete no action,
    constraint encrypted_data_registry_key_id_fkey foreign key (tenant_id, key_id)
        references security.encryption_keys (tenant_id, id) on delete cascade,
    constraint encrypted_data_registry_rows_are_counted check (row_count >= 0),
    constraint encrypted_data_registry_last_is_not_before_first check (
        last_encrypted_at >= first_encrypted_at)
);

create index encrypted_data_registry_data_element_idx
    on security.encrypted_data_registry (data_element, tenant_id);
-- What still needs a key before it can be destroyed.
create index encrypted_data_registry_key_id_idx on security.encrypted_data_registry (tenant_id, key_id);

comment on table security.encrypted_data_registry is
    'One row for each column of a tenant and each key that some of its values are encrypted with.';
comment on column security.encrypted_data_registry.row_count is
    'Rows under this key; rotation brings the old key''s to zero.';

alter table security.encrypted_data_registry enable row level security;
alter table security.encrypted_data_registry force row level security;
create policy encrypted_data_registry_of_my_tenant on security.encrypted_data_registry
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

--- security: compliance catalogue ------------------------------------------------
-- What the law or a standard asks, and what in this database answers it. Shared by all tenants.

create table security.compliance_frameworks (
    code         text        not null,
    name         text        not null,
    citation     text        not null,
    jurisdiction text        not null,
    publisher    text        not null,
    effective_on date        not null,
    url          text        not null,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint compliance_frameworks_pkey primary key (code),
    constraint compliance_frameworks_code_is_short check (code ~ '^[A-Z][A-Z0-9-]{1,19}$'),
    constraint compliance_frameworks_url_is_https check (url like 'https://%')
);

comment on table security.compliance_frameworks is
    'One row for each law or standard that tenants are measured by.';
comment on column security.compliance_frameworks.citation is
    'The text and the version that the requirements were read from.';

create trigger touch_updated_at before update on security.compliance_frameworks
    for each row execute function platform.touch_updated_at();

grant select on security.compliance_frameworks to enterprise_ai_app;
grant select, insert, update, delete on security.compliance_frameworks to enterprise_ai_operator;

create table security.compliance_requirements (
    framework_code   text        not null,
    reference        text        not null,
    parent_reference text,
    position         integer     not null,
    title            text        not null,
    summary          text        not null,
    responsibility   text        not null,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),

    constraint compliance_requirements_pkey primary key (framework_code, reference),
    constraint compliance_requirements_framework_code_fkey foreign key (framework_code)
        references security.compliance_frameworks (code) on delete cascade,
    constraint compliance_requirements_parent_reference_fkey foreign key (framework_code, parent_reference)
        references security.compliance_requirements (framework_code, reference) on delete no action,
    constraint compliance_requirements_are_not_their_own_parent check (parent_reference <> reference),
    constraint compliance_requirements_responsibility_is_known check (
        responsibility in ('database', 'shared', 'organization'))
);

create index compliance_requirements_parent_reference_idx
    on security.compliance_requirements (framework_code, parent_reference);

comment on table security.compliance_requirements is
    'One row for each requirement of a framework, in our words.';
comment on column security.compliance_requirements.reference is
    'As the framework numbers it: Art. 32, §164.312(b), 10.2.1.';
comment on column security.compliance_requirements.position is
    'Where it stands in the framework''s own order.';
comment on column security.compliance_requirements.responsibility is
    'Who can meet it: the database by itself; the database shared with those who run it; or only the organization.';

create trigger touch_updated_at before update on security.compliance_requirements
    for each row execute function platform.touch_updated_at();

grant select on security.compliance_requirements to enterprise_ai_app;
grant select, insert, update, delete on security.compliance_requirements to enterprise_ai_operator;

create table security.compliance_controls (
    code        text        not null,
    title       text        not null,
    description text        not null,
    kind        text        not null,
    status      text        not null,
    objects     text[]      not null default '{}',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint compliance_controls_pkey primary key (code),
    constraint compliance_controls_code_is_a_slug check (code ~ '^[a-z][a-z0-9-]*$'),
    constraint compliance_controls_kind_is_known check (kind in ('preventive', 'detective', 'corrective')),
    constraint compliance_controls_status_is_known check (status in ('planned', 'implemented', 'withdrawn')),
    constraint compliance_controls_show_what_implements_them check (
        status <> 'implemented' or cardinality(objects) > 0)
);

comment on table security.compliance_controls is
    'One row for each feature of this database that answers requirements.';
comment on column security.compliance_controls.status is
    'implemented: it works in this installation. planned: the tables may be there, what makes it work is not.';
comment on column security.compliance_controls.objects is
    'The tables, functions and roles that carry it out, by qualified name; all of them exist.';

create trigger touch_updated_at before update on security.compliance_controls
    for each row execute function platform.touch_updated_at();

grant select on security.compliance_controls to enterprise_ai_app;
grant select, insert, update, delete on security.compliance_controls to enterprise_ai_operator;

create table security.requirement_controls (
    framework_code text not null,
    reference      text not null,
    control_code   text not null,

    constraint requirement_controls_pkey primary key (framework_code, reference, control_code),
    constraint requirement_controls_reference_fkey foreign key (framework_code, reference)
        references security.compliance_requirements (framework_code, reference) on delete cascade,
    constraint requirement_controls_control_code_fkey foreign key (control_code)
        references security.compliance_controls (code) on delete cascade
);

create index requirement_controls_control_code_idx
    on security.requirement_controls (control_code);

comment on table security.requirement_controls is
    'One row for each control that helps to meet a requirement.';

grant select on security.requirement_controls to enterprise_ai_app;
grant select, insert, update, delete on security.requirement_controls to enterprise_ai_operator;

--- security: compliance assessments ----------------------------------------------

create table security.compliance_assessments (
    tenant_id        uuid        not null,
    id               uuid        not null default platform.new_id(),
    framework_code   text        not null,
    title            text        not null,
    scope            text        not null,
    period_starts_on date        not null,
    period_ends_on   date        not null,
    assessor_id      uuid,
    status           text        not null default 'draft',
    conclusion       text,
    started_at       timestamptz,
    completed_at     timestamptz,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),

    constraint compliance_assessments_pkey primary key (tenant_id, id),
    -- What the results refer to, so that an assessment holds requirements of its own framework only.
    constraint compliance_assessments_framework_key unique (tenant_id, id, framework_code),
    constraint compliance_assessments_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint compliance_assessments_framework_code_fkey foreign key (framework_code)
        references security.compliance_frameworks (code) on delete no action,
    constraint compliance_assessments_assessor_id_fkey foreign key (tenant_id, assessor_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint compliance_assessments_period_ends_after_it_starts check (period_ends_on >= period_starts_on),
    constraint compliance_assessments_status_is_known check (
        status in ('draft', 'in_progress', 'completed', 'cancelled')),
    constraint compliance_assessments_started_once_begun check (
        status not in ('in_progress', 'completed') or started_at is not null),
    constraint compliance_assessments_completed_say_when check (
        (status = 'completed') = (completed_at is not null)),
    constraint compliance_assessments_completed_conclude check (
        status <> 'completed' or conclusion is not null)
);

-- The history of one framework, newest first; also the foreign key's.
create index compliance_assessments_framework_code_idx
    on security.compliance_assessments (framework_code, tenant_id, period_ends_on desc);
create index compliance_assessments_assessor_id_idx
    on security.compliance_assessments (tenant_id, assessor_id);

comment on table security.compliance_assessments is
    'One row for each time a tenant is measured against a framework.';
comment on column security.compliance_assessments.scope is 'What was looked at and what was left out.';
comment on column security.compliance_assessments.assessor_id is
    'Who leads it; null when somebody outside the tenant does.';

create trigger touch_updated_at before update on security.compliance_assessments
    for each row execute function platform.touch_updated_at();

alter table security.compliance_assessments enable row level security;
alter table security.compliance_assessments force row level security;
create policy compliance_assessments_of_my_tenant on security.compliance_assessments
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on security.compliance_assessments to enterprise_ai_app;

create table security.assessment_results (
    tenant_id          uuid        not null,
    assessment_id      uuid        not null,
    framework_code     text        not null,
    reference          text        not null,
    outcome            text        not null default 'not_assessed',
    finding            text,
    evidence           jsonb       not null default '[]',
    remediation        text,
    remediation_due_on date,
    remediated_at      timestamptz,
    assessed_by        uuid,
    assessed_at        timestamptz,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),

    constraint assessment_results_pkey primary key (tenant_id, assessment_id, framework_code, reference),
    constraint assessment_results_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint assessment_results_assessment_id_fkey foreign key (tenant_id, assessment_id, framework_code)
        references security.compliance_assessments (tenant_id, id, framework_code) on delete cascade,
    constraint assessment_results_reference_fkey foreign key (framework_code, reference)
        references security.compliance_requirements (framework_code, reference) on delete no action,
    constraint assessment_results_assessed_by_fkey foreign key (tenant_id, assessed_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint assessment_results_outcome_is_known check (
        outcome in ('not_assessed', 'compliant', 'partially_compliant', 'non_compliant', 'not_applicable')),
    constraint assessment_results_assessed_say_when check (
        (outcome = 'not_assessed') = (assessed_at is null)),
    constraint assessment_results_shortcomings_are_described check (
        outcome not in ('partially_compliant', 'non_compliant') or finding is not null),
    constraint assessment_results_evidence_is_a_list check (jsonb_typeof(evidence) = 'array'),
    constraint assessment_results_remedies_are_described check (
        remediation is not null or (remediation_due_on is null and remediated_at is null))
);

create index assessment_results_reference_idx
    on security.assessment_results (framework_code, reference, tenant_id);
create index assessment_results_assessed_by_idx on security.assessment_results (tenant_id, assessed_by);
-- What is still to be put right, and by when.
create index assessment_results_remediation_due_on_idx
    on security.assessment_results (tenant_id, remediation_due_on)
    where remediation_due_on is not null and remediated_at is null;

comment on table security.assessment_results is
    'One row for each requirement in an assessment, with what was found.';
comment on column security.assessment_results.evidence is
    'What the outcome rests on, as [{"kind": "query" | "file" | "note", "reference": …, "collected_at": …}, …].';
comment on column security.assessment_results.remediation is 'What is to be done about a shortcoming.';

create trigger touch_updated_at before update on security.assessment_results
    for each row execute function platform.touch_updated_at();

alter table security.assessment_results enable row level security;
alter table security.assessment_results force row level security;
create policy assessment_results_of_my_tenant on security.assessment_results
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on security.assessment_results to enterprise_ai_app;

--- security: rights of data subjects ---------------------------------------------

create table security.data_subject_requests (
    tenant_id            uuid        not null,
    id                   uuid        not null default platform.new_id(),
    framework_code       text        not null,
    kind                 text        not null,
    subject_user_id      uuid,
    subject_email        text        not null,
    details              text,
    status               text        not null default 'received',
    handler_id           uuid,
    received_at          timestamptz not null default now(),
    identity_verified_at timestamptz,
    due_at               timestamptz not null,
    extended_at          timestamptz,
    extension_reason     text,
    closed_at            timestamptz,
    refusal_reason       text,
    result               jsonb       not null default '{}',
    updated_at           timestamptz not null default now(),

    constraint data_subject_requests_pkey primary key (tenant_id, id),
    constraint data_subject_requests_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint data_subject_requests_framework_code_fkey foreign key (framework_code)
        references security.compliance_frameworks (code) on delete no action,
    constraint data_subject_requests_subject_user_id_fkey foreign key (tenant_id, subject_user_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint data_subject_requests_handler_id_fkey foreign key (tenant_id, handler_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint data_subject_requests_kind_is_known check (
        kind in ('access', 'rectification', 'erasure', 'restriction', 'portability', 'objection',
                 'opt_out_of_sale', 'limit_sensitive_use', 'human_review')),
    constraint data_subject_requests_status_is_known check (
        status in ('received', 'verifying_identity', 'in_progress', 'completed', 'refused', 'withdrawn')),
    constraint data_subject_requests_are_due_after_receipt check (due_at > received_at),
    constraint data_subject_requests_extensions_say_why check (
        (extended_at is null) = (extension_reason is null)),
    constraint data_subject_requests_close_when_decided check (
        (status in ('completed', 'refused', 'withdrawn')) = (closed_at is not null)),
    constraint data_subject_requests_refusals_say_why check (
        (status = 'refused') = (refusal_reason is not null)),
    constraint data_subject_requests_act_on_the_right_person check (
        status <> 'completed' or identity_verified_at is not null),
    constraint data_subject_requests_result_is_an_object check (jsonb_typeof(result) = 'object')
);

create index data_subject_requests_framework_code_idx
    on security.data_subject_requests (framework_code, tenant_id);
create index data_subject_requests_subject_user_id_idx
    on security.data_subject_requests (tenant_id, subject_user_id);
create index data_subject_requests_handler_id_idx on security.data_subject_requests (tenant_id, handler_id);
-- What is open, the most urgent first.
create index data_subject_requests_due_at_idx on security.data_subject_requests (tenant_id, due_at)
    where closed_at is null;

comment on table security.data_subject_requests is
    'One row for each request of a person about their own data.';
comment on column security.data_subject_requests.framework_code is
    'The law that the person invokes; it sets the time limit.';
comment on column security.data_subject_requests.subject_user_id is
    'The account of the person, when they have one.';
comment on column security.data_subject_requests.due_at is
    'When the answer is due by law: a month under GDPR Art. 12(3), 45 days under CCPA §1798.130; later once extended.';
comment on column security.data_subject_requests.result is
    'What was done, as {"schema.table": {"found": n, "changed": n, "retained": n, "reason": …}, …}.';

create trigger set_due_at before insert on security.data_subject_requests
    for each row when (new.due_at is null) execute function security._set_due_at();
create trigger touch_updated_at before update on security.data_subject_requests
    for each row execute function platform.touch_updated_at();

alter table security.data_subject_requests enable row level security;
alter table security.data_subject_requests force row level security;
create policy data_subject_requests_of_my_tenant on security.data_subject_requests
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- A request is evidence of itself: it is closed, not deleted. What came of it, only the erasing functions write.
grant select on security.data_subject_requests to enterprise_ai_app;
grant insert (tenant_id, id, framework_code, kind, subject_user_id, subject_email, details, due_at)
    on security.data_subject_requests to enterprise_ai_app;
grant update (subject_user_id, details, status, handler_id, identity_verified_at, due_at, extended_at,
              extension_reason, closed_at, refusal_reason)
    on security.data_subject_requests to enterprise_ai_app;

--- security: retention and legal holds -------------------------------------------
-- Declared once for each table; a tenant may keep longer or shorter, never below the minimum. A legal hold
-- stops everything that would remove what it covers.

create table security.retention_policies (
    schema_name      text        not null,
    table_name       text        not null,
    time_column      text        not null,
    action           text        not null,
    keep_for         interval    not null,
    minimum_keep_for interval    not null default '0',
    archive_first    boolean     not null default false,
    is_enabled       boolean     not null default true,
    reason           text        not null,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),

    constraint retention_policies_pkey primary key (schema_name, table_name),
    constraint retention_policies_action_is_known check (action in ('drop_partition', 'delete_rows')),
    constraint retention_policies_keep_at_least_the_minimum check (
        keep_for > '0' and minimum_keep_for >= '0' and keep_for >= minimum_keep_for)
);

comment on table security.retention_policies is
    'One row for each table whose rows end: how long they are kept and how they go.';
comment on column security.retention_policies.time_column is
    'The moment of a row from which its time is counted.';
comment on column security.retention_policies.action is
    'drop_partition: whole months, for all tenants, when the last of them lets go. delete_rows: row by row, by tenant.';
comment on column security.retention_policies.minimum_keep_for is 'Below this no tenant can go.';
comment on column security.retention_policies.archive_first is
    'Rows are exported and read back before they are removed.';
comment on column security.retention_policies.reason is
    'What the time follows from: a law, a standard, or need.';

create trigger touch_updated_at before update on security.retention_policies
    for each row execute function platform.touch_updated_at();

grant select on security.retention_policies to enterprise_ai_app;
grant select, insert, update, delete on security.retention_policies to enterprise_ai_operator;

create table security.tenant_retention_policies (
    tenant_id   uuid        not null,
    schema_name text        not null,
    table_name  text        not null,
    keep_for    interval    not null,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint tenant_retention_policies_pkey primary key (tenant_id, schema_name, table_name),
    constraint tenant_retention_policies_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint tenant_retention_policies_table_name_fkey foreign key (schema_name, table_name)
        references security.retention_policies (schema_name, table_name) on delete cascade,
    constraint tenant_retention_policies_keep_for_some_time check (keep_for > '0')
);

create index tenant_retention_policies_table_name_idx
    on security.tenant_retention_policies (schema_name, table_name, tenant_id);

comment on table security.tenant_retention_policies is
    'One row for each table whose rows a tenant keeps for a time of its own.';
comment on column security.tenant_retention_policies.keep_for is
    'Counts as the policy''s minimum where it is shorter than that.';

create trigger touch_updated_at before update on security.tenant_retention_policies
    for each row execute function platform.touch_updated_at();

alter table security.tenant_retention_policies enable row level security;
alter table security.tenant_retention_policies force row level security;
create policy tenant_retention_policies_of_my_tenant on security.tenant_retention_policies
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on security.tenant_retention_policies to enterprise_ai_app;

create table security.legal_holds (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    matter         text        not null,
    reason         text        not null,
    tables         text[]      not null default '{}',
    covers_from    timestamptz,
    covers_until   timestamptz,
    placed_by      uuid        not null,
    placed_at      timestamptz not null default now(),
    released_by    uuid,
    released_at    timestamptz,
    release_reason text,

    constraint legal_holds_pkey primary key (tenant_id, id),
    constraint legal_holds_matter_key unique (tenant_id, matter),
    constraint legal_holds_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint legal_holds_placed_by_fkey foreign key (tenant_id, placed_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint legal_holds_released_by_fkey foreign key (tenant_id, released_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint legal_holds_matter_is_not_blank check (matter ~ '\S'),
    constraint legal_holds_cover_some_time check (covers_until > covers_from),
    constraint legal_holds_end_after_they_start check (released_at >= placed_at),
    constraint legal_holds_releases_say_who_and_why check (
        num_nonnulls(released_at, released_by, release_reason) in (0, 3))
);

create index legal_holds_placed_by_idx on security.legal_holds (tenant_id, placed_by);
create index legal_holds_released_by_idx on security.legal_holds (tenant_id, released_by);
-- Asked before anything is removed.
create index legal_holds_in_force_idx on security.legal_holds (tenant_id) where released_at is null;

comment on table security.legal_holds is
    'One row for each order to keep data for a dispute or an investigation, whatever else would remove it.';
comment on column security.legal_holds.matter is 'The case, by the name or number that counsel uses.';
comment on column security.legal_holds.tables is 'The tables held, as schema.table; empty when all.';
comment on column security.legal_holds.covers_from is
    'Rows from this moment on are held; null when from the first.';
comment on column security.legal_holds.covers_until is
    'Rows before this moment are held; null when without end.';

-- >>> sql/security/keep_open_holds.sql
create or replace function security._keep_open_holds()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if old.released_at is null then
        raise exception 'Legal hold % ("%") is in force; nothing was deleted', old.id, old.matter
            using errcode = 'ZS001', hint = 'Release the hold first: set released_at, released_by and release_reason.';
    end if;
    return old;
end
$$;

comment on function security._keep_open_holds() is
    'Before-row trigger: a hold in force cannot be deleted, nor can the tenant it protects. Raises ZS001.';

revoke all on function security._keep_open_holds() from public;
-- <<<

create trigger keep_open_holds before delete on security.legal_holds
    for each row execute function security._keep_open_holds();

alter table security.legal_holds enable row level security;
alter table security.legal_holds force row level security;
create policy legal_holds_of_my_tenant on security.legal_holds
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- What a hold covers does not change once it is placed: a wider one is a new hold.
grant select, insert on security.legal_holds to enterprise_ai_app;
grant update (released_by, released_at, release_reason) on security.legal_holds to enterprise_ai_app;

create table security.legal_hold_custodians (
    tenant_id uuid        not null,
    hold_id   uuid        not null,
    user_id   uuid        not null,
    added_at  timestamptz not null default now(),

    constraint legal_hold_custodians_pkey primary key (tenant_id, hold_id, user_id),
    constraint legal_hold_custodians_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint legal_hold_custodians_hold_id_fkey foreign key (tenant_id, hold_id)
        references security.legal_holds (tenant_id, id) on delete cascade,
    constraint legal_hold_custodians_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete no action
);

-- Whether somebody's data is held: asked before it is erased.
create index legal_hold_custodians_user_id_idx on security.legal_hold_custodians (tenant_id, user_id);

comment on table security.legal_hold_custodians is
    'One row for each person whose data a legal hold keeps; a hold without any keeps everybody''s.';

alter table security.legal_hold_custodians enable row level security;
alter table security.legal_hold_custodians force row level security;
create policy legal_hold_custodians_of_my_tenant on security.legal_hold_custodians
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert on security.legal_hold_custodians to enterprise_ai_app;

--- audit: events -----------------------------------------------------------------
-- The logs are append-only: nobody is granted more than reading, and functions do the writing. What happens
-- outside any tenant carries the nil tenant, 00000000-0000-0000-0000-000000000000, so no log has a foreign
-- key to the tenants; a log also outlives what it mentions.

create table audit.audit_logs (
    tenant_id      uuid        not null,
    occurred_at    timestamptz not null default clock_timestamp(),
    id             uuid        not null default platform.new_id(),
    transaction_id bigint      not null default txid_current(),
    event_type     text        not null,
    outcome        text        not null default 'success',
    severity       text        not null default 'info',
    user_id        uuid,
    actor_id       uuid,
    session_id     uuid,
    service_name   text,
    database_role  text        not null default session_user,
    request_id     text,
    ip_address     inet,
    user_agent     text,
    resource_type  text,
    resource_id    text,
    details        jsonb       not null default '{}',

    constraint audit_logs_pkey primary key (tenant_id, occurred_at, id),
    constraint audit_logs_event_type_is_dotted check (event_type ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'),
    constraint audit_logs_outcome_is_known check (outcome in ('success', 'failure', 'denied')),
    constraint audit_logs_severity_is_known check (severity in ('info', 'low', 'medium', 'high', 'critical')),
    constraint audit_logs_resources_have_a_type check (resource_id is null or resource_type is not null),
    constraint audit_logs_details_are_an_object check (jsonb_typeof(details) = 'object')
) partition by range (occurred_at);

-- Sealing takes the rows of a range of finished transactions.
create index audit_logs_transaction_id_idx on audit.audit_logs (tenant_id, transaction_id, id);
-- What somebody did, newest first.
create index audit_logs_actor_id_idx on audit.audit_logs (tenant_id, actor_id, occurred_at desc)
    where actor_id is not null;
-- What happened to a thing.
create index audit_logs_resource_id_idx
    on audit.audit_logs (tenant_id, resource_type, resource_id, occurred_at desc) where resource_id is not null;
-- What security rules count, and reports by kind of event.
create index audit_logs_event_type_idx on audit.audit_logs (tenant_id, event_type, occurred_at desc);
-- All that one request led to.
create index audit_logs_request_id_idx
    on audit.audit_logs (tenant_id, request_id) where request_id is not null;
-- A stretch of time over all tenants; rows arrive in order, so a block range index is enough.
create index audit_logs_occurred_at_idx on audit.audit_logs using brin (occurred_at);

comment on table audit.audit_logs is
    'One row for each thing that happened: a sign-in, a decision, a call, an administrative act.';
comment on column audit.audit_logs.transaction_id is
    'The 64-bit number of the transaction that wrote the row; sealing orders by it.';
comment on column audit.audit_logs.event_type is 'domain.thing.what_happened, e.g. identity.login.failed.';
comment on column audit.audit_logs.user_id is 'Whose rights were used; null for a service.';
comment on column audit.audit_logs.actor_id is
    'Who was really at work: differs when somebody acts on behalf of another.';
comment on column audit.audit_logs.database_role is 'The login of the connection.';
comment on column audit.audit_logs.resource_type is 'What it was done to, as authz.resource_types names it.';
comment on column audit.audit_logs.details is
    'What the kind of event adds, as {"name": value, …}; never a secret.';

alter table audit.audit_logs enable row level security;
alter table audit.audit_logs force row level security;
create policy audit_logs_of_my_tenant on audit.audit_logs
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.audit_logs to enterprise_ai_auditor;

select platform.ensure_partitions(
    'audit.audit_logs',
    (now() at time zone 'UTC')::date,
    ((now() at time zone 'UTC') + interval '12 months')::date);

--- audit: row versions -----------------------------------------------------------
-- The key begins with the transaction, after the tenant: sealing reads whole ranges of finished transactions,
-- and so needs no further index on the busiest of all tables. Time is in the key because months are.

create table audit.change_tracking (
    tenant_id      uuid        not null,
    transaction_id bigint      not null default txid_current(),
    changed_at     timestamptz not null default clock_timestamp(),
    id             bigint      not null generated always as identity,
    schema_name    text        not null,
    table_name     text        not null,
    operation      text        not null,
    row_key        jsonb,
    old_row        jsonb,
    new_row        jsonb,
    user_id        uuid,
    actor_id       uuid,
    session_id     uuid,
    request_id     text,
    change_set_id  uuid,
    database_role  text        not null default session_user,

    constraint change_tracking_pkey primary key (tenant_id, transaction_id, changed_at, id),
    constraint change_tracking_operation_is_known check (
        operation in ('insert', 'update', 'delete', 'truncate')),
    constraint change_tracking_row_key_is_an_object check (jsonb_typeof(row_key) = 'object'),
    constraint change_tracking_only_truncate_has_no_row check ((operation = 'truncate') = (row_key is null)),
    constraint change_tracking_images_fit_the_operation check (
        (old_row is null or operation in ('update', 'delete'))
        and (new_row is null or operation in ('insert', 'update'))),
    constraint change_tracking_images_are_objects check (
        jsonb_typeof(old_row) = 'object' and jsonb_typeof(new_row) = 'object')
) partition by range (changed_at);

-- The history of a row, and the row as it was at a time.
create index change_tracking_row_key_idx
    on audit.change_tracking (tenant_id, schema_name, table_name, row_key, id);
-- What was written in a stretch of time.
create index change_tracking_changed_at_idx on audit.change_tracking using brin (changed_at);

comment on table audit.change_tracking is 'One row for each change of a row in a tracked table.';
comment on column audit.change_tracking.transaction_id is
    'The 64-bit number of the transaction that made the change; all its changes have it in common.';
comment on column audit.change_tracking.changed_at is
    'When the statement ran, not when its transaction began.';
comment on column audit.change_tracking.id is
    'Rises with every change. Taken while the row is locked, it orders the changes of one row truly, which neither
time nor transaction number does.';
comment on column audit.change_tracking.row_key is
    'The primary key without the tenant, as {"column": value, …}; null for truncate, which has no rows.';
comment on column audit.change_tracking.old_row is
    'The row before, as {"column": value, …}, without what its classification omits. How much is kept is each table''s
choice: with old images alone, the next version or the living row is the newer one.';
comment on column audit.change_tracking.new_row is 'The row after, where the table keeps it.';
comment on column audit.change_tracking.change_set_id is
    'The approved change set that was being applied, if any.';

alter table audit.change_tracking enable row level security;
alter table audit.change_tracking force row level security;
create policy change_tracking_of_my_tenant on audit.change_tracking
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.change_tracking to enterprise_ai_auditor;

select platform.ensure_partitions(
    'audit.change_tracking',
    (now() at time zone 'UTC')::date,
    ((now() at time zone 'UTC') + interval '12 months')::date);

--- audit: tamper evidence --------------------------------------------------------
-- Each tenant has a chain of blocks for each log. A block covers all rows of a range of transactions that had
-- all finished when it was made, so a row slipped in or taken out later changes a block that exists.

create table audit.ledger_blocks (
    tenant_id           uuid        not null,
    log_name            text        not null,
    era                 integer     not null,
    number              bigint      not null,
    system_identifier   bigint      not null,
    from_transaction_id bigint      not null,
    to_transaction_id   bigint      not null,
    row_count           bigint      not null,
    algorithm           text        not null,
    merkle_root         bytea       not null,
    previous_hash       bytea,
    block_hash          bytea       not null,
    sealed_at           timestamptz not null default clock_timestamp(),

    constraint ledger_blocks_pkey primary key (tenant_id, log_name, era, number),
    -- Ranges do not overlap: no two blocks begin at the same transaction, and each begins where one ended.
    constraint ledger_blocks_from_transaction_id_key unique (tenant_id, log_name, era, from_transaction_id),
    constraint ledger_blocks_log_name_is_known check (log_name in ('audit_logs', 'change_tracking')),
    constraint ledger_blocks_eras_count_from_zero check (era >= 0),
    constraint ledger_blocks_numbers_count_from_one check (number >= 1),
    constraint ledger_blocks_cover_some_transactions check (to_transaction_id > from_transaction_id),
    constraint ledger_blocks_rows_are_counted check (row_count >= 0),
    constraint ledger_blocks_algorithm_is_known check (algorithm in ('sha256-merkle-v1')),
    constraint ledger_blocks_hashes_are_sha256 check (
        octet_length(merkle_root) = 32 and octet_length(previous_hash) = 32 and octet_length(block_hash) = 32),
    -- The first block of a later era goes on from the last one of the era before.
    constraint ledger_blocks_only_the_first_has_no_previous check (
        (previous_hash is null) = (era = 0 and number = 1))
);

comment on table audit.ledger_blocks is
    'One row for each sealed stretch of a log; every block holds the hash of the one before it.';
comment on column audit.ledger_blocks.era is
    'How many restores came before: transaction numbers begin anew with each.';
comment on column audit.ledger_blocks.system_identifier is
    'Of the server that sealed, from pg_control_system().';
comment on column audit.ledger_blocks.to_transaction_id is
    'The first transaction that the block does not cover.';
comment on column audit.ledger_blocks.algorithm is
    'How rows become digests, digests the root, and the root the block''s hash.';
comment on column audit.ledger_blocks.merkle_root is
    'SHA-256 root over the digests of the rows by transaction and id.';

alter table audit.ledger_blocks enable row level security;
alter table audit.ledger_blocks force row level security;
create policy ledger_blocks_of_my_tenant on audit.ledger_blocks
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.ledger_blocks to enterprise_ai_auditor;

--- audit: approvals --------------------------------------------------------------
-- A change that a policy covers is first a proposal: it is applied once enough others have approved exactly it.

create table audit.approval_policies (
    tenant_id            uuid        not null,
    id                   uuid        not null default platform.new_id(),
    name                 text        not null,
    schema_name          text        not null,
    table_name           text        not null,
    operations           text[]      not null default '{insert,update,delete}',
    required_approvals   integer     not null default 1,
    approver_role_id     uuid,
    allows_self_approval boolean     not null default false,
    expires_after        interval    not null default '7 days',
    is_enabled           boolean     not null default true,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now(),

    constraint approval_policies_pkey primary key (tenant_id, id),
    constraint approval_policies_name_key unique (tenant_id, name),
    constraint approval_policies_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint approval_policies_approver_role_id_fkey foreign key (tenant_id, approver_role_id)
        references authz.roles (tenant_id, id) on delete no action,
    constraint approval_policies_operations_are_known check (
        operations <> '{}' and operations <@ array['insert', 'update', 'delete']),
    constraint approval_policies_ask_for_somebody check (required_approvals >= 1),
    constraint approval_policies_expire_later check (expires_after > '0')
);

-- Which policies a change falls under.
create index approval_policies_table_name_idx
    on audit.approval_policies (tenant_id, schema_name, table_name) where is_enabled;

create index approval_policies_approver_role_id_idx on audit.approval_policies (tenant_id, approver_role_id);

comment on table audit.approval_policies is
    'One row for each rule that changes of a table need approval; of several that apply, all must be met.';
comment on column audit.approval_policies.approver_role_id is
    'The role that approvers hold; null for whoever may approve at all.';
comment on column audit.approval_policies.allows_self_approval is 'The proposer''s own approval counts.';
comment on column audit.approval_policies.expires_after is 'How long a proposal waits for approval.';

create trigger touch_updated_at before update on audit.approval_policies
    for each row execute function platform.touch_updated_at();

alter table audit.approval_policies enable row level security;
alter table audit.approval_policies force row level security;
create policy approval_policies_of_my_tenant on audit.approval_policies
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.approval_policies to enterprise_ai_app, enterprise_ai_auditor;

create table audit.change_sets (
    tenant_id              uuid        not null,
    id                     uuid        not null default platform.new_id(),
    title                  text        not null,
    justification          text        not null,
    changes                jsonb       not null,
    content_hash           bytea       not null,
    status                 text        not null default 'proposed',
    required_approvals     integer     not null,
    proposer_id            uuid        not null,
    proposed_at            timestamptz not null default now(),
    expires_at             timestamptz not null,
    decided_at             timestamptz,
    applied_by             uuid,
    applied_at             timestamptz,
    applied_transaction_id bigint,
    updated_at             timestamptz not null default now(),

    constraint change_sets_pkey primary key (tenant_id, id),
    constraint change_sets_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint change_sets_proposer_id_fkey foreign key (tenant_id, proposer_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint change_sets_applied_by_fkey foreign key (tenant_id, applied_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint change_sets_title_is_not_blank check (title ~ '\S'),
    constraint change_sets_changes_are_a_list check (
        jsonb_typeof(changes) = 'array' and changes <> '[]'),
    constraint change_sets_content_hash_is_sha256 check (octet_length(content_hash) = 32),
    constraint change_sets_status_is_known check (
        status in ('proposed', 'approved', 'rejected', 'withdrawn', 'expired', 'applied')),
    constraint change_sets_ask_for_somebody check (required_approvals >= 1),
    constraint change_sets_expire_after_they_start check (expires_at > proposed_at),
    constraint change_sets_decided_say_when check ((status = 'proposed') = (decided_at is null)),
    constraint change_sets_applied_say_who_and_when check (
        num_nonnulls(applied_by, applied_at, applied_transaction_id)
            = case when status = 'applied' then 3 else 0 end)
);

create index change_sets_proposer_id_idx on audit.change_sets (tenant_id, proposer_id);
create index change_sets_applied_by_idx on audit.change_sets (tenant_id, applied_by);
-- What waits for approval, and the sweep of what expired.
create index change_sets_open_idx on audit.change_sets (tenant_id, expires_at)
    where status in ('proposed', 'approved');
-- The list of all, newest first.
create index change_sets_proposed_at_idx on audit.change_sets (tenant_id, proposed_at desc);

comment on table audit.change_sets is
    'One row for each set of changes proposed for approval, applied as a whole or not at all.';
comment on column audit.change_sets.changes is
    'In the order of application, [{"schema", "table", "operation", "key": {…}, "expected": {…}, "values": {…}}, …]:
expected is what the row must still hold when the change is applied.';
comment on column audit.change_sets.content_hash is 'SHA-256 of the changes: what an approval is given for.';
comment on column audit.change_sets.required_approvals is 'As the policies asked when it was proposed.';
comment on column audit.change_sets.applied_transaction_id is
    'Whose row versions in audit.change_tracking are the result.';

create trigger touch_updated_at before update on audit.change_sets
    for each row execute function platform.touch_updated_at();

alter table audit.change_sets enable row level security;
alter table audit.change_sets force row level security;
create policy change_sets_of_my_tenant on audit.change_sets
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select (tenant_id, id, title, justification, changes, status, required_approvals, proposer_id, proposed_at,
              expires_at, decided_at, applied_by, applied_at, applied_transaction_id, updated_at)
    on audit.change_sets to enterprise_ai_app;
grant select on audit.change_sets to enterprise_ai_auditor;

create table audit.change_approvals (
    tenant_id     uuid        not null,
    change_set_id uuid        not null,
    content_hash  bytea       not null,
    approver_id   uuid        not null,
    decision      text        not null,
    comment       text,
    decided_at    timestamptz not null default now(),

    constraint change_approvals_pkey primary key (tenant_id, change_set_id, content_hash, approver_id),
    constraint change_approvals_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint change_approvals_change_set_id_fkey foreign key (tenant_id, change_set_id)
        references audit.change_sets (tenant_id, id) on delete cascade,
    constraint change_approvals_approver_id_fkey foreign key (tenant_id, approver_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint change_approvals_content_hash_is_sha256 check (octet_length(content_hash) = 32),
    constraint change_approvals_decision_is_known check (decision in ('approved', 'rejected')),
    constraint change_approvals_rejections_say_why check (decision <> 'rejected' or comment is not null)
);

create index change_approvals_approver_id_idx on audit.change_approvals (tenant_id, approver_id);

comment on table audit.change_approvals is
    'One row for each decision of an approver on a change set as it then was.';
comment on column audit.change_approvals.content_hash is
    'Of the changes that the approver saw; it counts only while the change set still has it.';

alter table audit.change_approvals enable row level security;
alter table audit.change_approvals force row level security;
create policy change_approvals_of_my_tenant on audit.change_approvals
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select (tenant_id, change_set_id, approver_id, decision, comment, decided_at)
    on audit.change_approvals to enterprise_ai_app;
grant select on audit.change_approvals to enterprise_ai_auditor;

--- audit: security events --------------------------------------------------------
-- Rules watch the events; what they find, one row a finding, is for somebody to deal with.

create table audit.security_rules (
    name             text        not null,
    display_name     text        not null,
    description      text        not null,
    severity         text        not null,
    event_types      text[]      not null,
    outcomes         text[]      not null default '{success,failure,denied}',
    condition        jsonpath,
    grouped_by       text        not null,
    distinct_by      text,
    threshold        integer     not null default 1,
    within           interval    not null default '10 minutes',
    mitre_techniques text[]      not null default '{}',
    is_enabled       boolean     not null default true,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),

    constraint security_rules_pkey primary key (name),
    constraint security_rules_name_is_a_slug check (name ~ '^[a-z][a-z0-9_]*$'),
    constraint security_rules_severity_is_known check (
        severity in ('info', 'low', 'medium', 'high', 'critical')),
    constraint security_rules_watch_some_events check (cardinality(event_types) > 0),
    constraint security_rules_outcomes_are_known check (
        outcomes <> '{}' and outcomes <@ array['success', 'failure', 'denied']),
    -- In lax mode a missing key would make a negation true.
    constraint security_rules_conditions_are_strict check (condition::text like 'strict %'),
    constraint security_rules_grouped_by_is_known check (
        grouped_by in ('tenant', 'user', 'actor', 'session', 'ip_address', 'resource')),
    constraint security_rules_distinct_by_is_known check (
        distinct_by in ('user', 'actor', 'session', 'ip_address', 'resource') and distinct_by <> grouped_by),
    constraint security_rules_count_from_one check (threshold >= 1),
    constraint security_rules_look_back_some_time check (within > '0')
);

comment on table audit.security_rules is
    'One row for each pattern of events that means somebody should look.';
comment on column audit.security_rules.condition is
    'What the event, as JSON, must also satisfy: a predicate in strict mode.';
comment on column audit.security_rules.grouped_by is 'Events count together that have this in common.';
comment on column audit.security_rules.distinct_by is
    'What is counted instead of events, e.g. the different users that one address tried; null when events are.';
comment on column audit.security_rules.threshold is 'So many within the time make a security event.';
comment on column audit.security_rules.mitre_techniques is
    'MITRE ATT&CK techniques it shows, e.g. T1110.003.';

create trigger touch_updated_at before update on audit.security_rules
    for each row execute function platform.touch_updated_at();

grant select on audit.security_rules to enterprise_ai_app, enterprise_ai_auditor;
grant select, insert, update, delete on audit.security_rules to enterprise_ai_operator;

create table audit.tenant_security_rules (
    tenant_id  uuid        not null,
    rule_name  text        not null,
    is_enabled boolean     not null default true,
    severity   text,
    threshold  integer,
    within     interval,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint tenant_security_rules_pkey primary key (tenant_id, rule_name),
    constraint tenant_security_rules_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint tenant_security_rules_rule_name_fkey foreign key (rule_name)
        references audit.security_rules (name) on delete cascade,
    constraint tenant_security_rules_severity_is_known check (
        severity in ('info', 'low', 'medium', 'high', 'critical')),
    constraint tenant_security_rules_count_from_one check (threshold >= 1),
    constraint tenant_security_rules_look_back_some_time check (within > '0')
);

create index tenant_security_rules_rule_name_idx on audit.tenant_security_rules (rule_name);

comment on table audit.tenant_security_rules is
    'One row for each security rule that a tenant tunes; what is null is as the rule says.';

create trigger touch_updated_at before update on audit.tenant_security_rules
    for each row execute function platform.touch_updated_at();

alter table audit.tenant_security_rules enable row level security;
alter table audit.tenant_security_rules force row level security;
create policy tenant_security_rules_of_my_tenant on audit.tenant_security_rules
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.tenant_security_rules to enterprise_ai_app, enterprise_ai_auditor;

create table audit.security_events (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    rule_name      text        not null,
    group_value    text        not null,
    severity       text        not null,
    status         text        not null default 'open',
    event_count    bigint      not null default 1,
    first_event_at timestamptz not null,
    last_event_at  timestamptz not null,
    evidence       jsonb       not null default '[]',
    assignee_id    uuid,
    resolved_by    uuid,
    resolved_at    timestamptz,
    resolution     text,
    detected_at    timestamptz not null default now(),
    updated_at     timestamptz not null default now(),

    constraint security_events_pkey primary key (tenant_id, id),
    constraint security_events_severity_is_known check (
        severity in ('info', 'low', 'medium', 'high', 'critical')),
    constraint security_events_status_is_known check (
        status in ('open', 'acknowledged', 'resolved', 'false_positive')),
    constraint security_events_count_from_one check (event_count >= 1),
    constraint security_events_last_is_not_before_first check (last_event_at >= first_event_at),
    constraint security_events_evidence_is_a_list check (jsonb_typeof(evidence) = 'array'),
    constraint security_events_closed_say_when_and_why check (
        num_nonnulls(resolved_at, resolution)
            = case when status in ('resolved', 'false_positive') then 2 else 0 end),
    constraint security_events_only_closed_have_a_resolver check (
        resolved_by is null or resolved_at is not null)
);

-- While a finding is open, more of the same adds to it instead of raising the alarm again.
create unique index security_events_open_key on audit.security_events (tenant_id, rule_name, group_value)
    where status in ('open', 'acknowledged');
-- The work list, the gravest and newest first.
create index security_events_open_idx on audit.security_events (tenant_id, severity, last_event_at desc)
    where status in ('open', 'acknowledged');
create index security_events_assignee_id_idx
    on audit.security_events (tenant_id, assignee_id, last_event_at desc)
    where assignee_id is not null;
-- Reports by time.
create index security_events_detected_at_idx on audit.security_events (tenant_id, detected_at desc);

comment on table audit.security_events is
    'One row for each time that a rule found its pattern. Without foreign keys, as the logs: it may lie outside any tenant.';
comment on column audit.security_events.rule_name is 'Of audit.security_rules.';
comment on column audit.security_events.group_value is
    'What the events have in common: the user, the address, …';
comment on column audit.security_events.evidence is
    'The first events that made it up, as [{"id": …, "occurred_at": …}, …] of audit.audit_logs.';

create trigger touch_updated_at before update on audit.security_events
    for each row execute function platform.touch_updated_at();

alter table audit.security_events enable row level security;
alter table audit.security_events force row level security;
create policy security_events_of_my_tenant on audit.security_events
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.security_events to enterprise_ai_app, enterprise_ai_auditor;

--- audit: investigations ---------------------------------------------------------
-- What is gathered is copied with its hash, so that it stays what it was after the logs have moved on.

create table audit.investigations (
    tenant_id     uuid        not null,
    id            uuid        not null default platform.new_id(),
    title         text        not null,
    description   text        not null,
    severity      text        not null,
    status        text        not null default 'open',
    opened_by     uuid        not null,
    lead_id       uuid,
    legal_hold_id uuid,
    opened_at     timestamptz not null default now(),
    closed_at     timestamptz,
    conclusion    text,
    updated_at    timestamptz not null default now(),

    constraint investigations_pkey primary key (tenant_id, id),
    constraint investigations_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint investigations_opened_by_fkey foreign key (tenant_id, opened_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint investigations_lead_id_fkey foreign key (tenant_id, lead_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint investigations_legal_hold_id_fkey foreign key (tenant_id, legal_hold_id)
        references security.legal_holds (tenant_id, id) on delete no action,
    constraint investigations_title_is_not_blank check (title ~ '\S'),
    constraint investigations_severity_is_known check (
        severity in ('info', 'low', 'medium', 'high', 'critical')),
    constraint investigations_status_is_known check (status in ('open', 'closed')),
    constraint investigations_closed_conclude check (
        num_nonnulls(closed_at, conclusion) = case when status = 'closed' then 2 else 0 end)
);

create index investigations_opened_by_idx on audit.investigations (tenant_id, opened_by);
create index investigations_lead_id_idx on audit.investigations (tenant_id, lead_id);
create index investigations_legal_hold_id_idx on audit.investigations (tenant_id, legal_hold_id);
create index investigations_opened_at_idx on audit.investigations (tenant_id, status, opened_at desc);

comment on table audit.investigations is 'One row for each inquiry into what happened.';
comment on column audit.investigations.legal_hold_id is 'The hold that keeps the data it needs.';

create trigger touch_updated_at before update on audit.investigations
    for each row execute function platform.touch_updated_at();

alter table audit.investigations enable row level security;
alter table audit.investigations force row level security;
create policy investigations_of_my_tenant on audit.investigations
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.investigations to enterprise_ai_auditor;

create table audit.investigation_items (
    tenant_id         uuid        not null,
    investigation_id  uuid        not null,
    id                uuid        not null default platform.new_id(),
    kind              text        not null,
    event_id          uuid,
    security_event_id uuid,
    change_id         bigint,
    transaction_id    bigint,
    occurred_at       timestamptz,
    note              text,
    snapshot          jsonb,
    snapshot_hash     bytea,
    added_by          uuid        not null,
    added_at          timestamptz not null default now(),

    constraint investigation_items_pkey primary key (tenant_id, investigation_id, id),
    constraint investigation_items_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint investigation_items_investigation_id_fkey foreign key (tenant_id, investigation_id)
        references audit.investigations (tenant_id, id) on delete cascade,
    constraint investigation_items_added_by_fkey foreign key (tenant_id, added_by)
        references identity.users (tenant_id, id) on delete no action,
    constraint investigation_items_have_what_their_kind_needs check (
        case kind
            when 'event' then num_nonnulls(event_id, occurred_at, snapshot) = 3
                              and num_nonnulls(security_event_id, change_id, transaction_id) = 0
            when 'change' then num_nonnulls(change_id, transaction_id, occurred_at, snapshot) = 4
                               and num_nonnulls(event_id, security_event_id) = 0
            when 'security_event' then num_nonnulls(security_event_id, snapshot) = 2
                                       and num_nonnulls(event_id, change_id, transaction_id) = 0
            when 'note' then note is not null
                             and num_nonnulls(event_id, security_event_id, change_id, transaction_id, snapshot) = 0
            else false
        end),
    constraint investigation_items_snapshots_are_hashed check (
        (snapshot is null) = (snapshot_hash is null) and octet_length(snapshot_hash) = 32)
);

create index investigation_items_added_by_idx on audit.investigation_items (tenant_id, added_by);

comment on table audit.investigation_items is
    'One row for each piece of evidence or note in an investigation; added, never changed.';
comment on column audit.investigation_items.kind is 'event, change, security_event or note.';
comment on column audit.investigation_items.event_id is 'Of audit.audit_logs, at occurred_at.';
comment on column audit.investigation_items.change_id is
    'Of audit.change_tracking, in transaction_id, at occurred_at.';
comment on column audit.investigation_items.note is 'What is to be said about it.';
comment on column audit.investigation_items.snapshot is
    'The row as it was when it was added, as {"column": value, …}.';
comment on column audit.investigation_items.snapshot_hash is 'SHA-256 of the snapshot''s text.';

alter table audit.investigation_items enable row level security;
alter table audit.investigation_items force row level security;
create policy investigation_items_of_my_tenant on audit.investigation_items
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on audit.investigation_items to enterprise_ai_auditor;

--- identity: create_tenant -------------------------------------------------------

-- >>> sql/identity/create_tenant.sql
create or replace function identity.create_tenant(slug text, display_name text, region text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes to the directory of tenants and to a tenant that has no users yet
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.new_id();
    v_context text := current_setting('enterprise_ai.context', true);
begin
    insert into identity.tenant_directory (slug, tenant_id)
    values (create_tenant.slug, v_tenant_id)
    on conflict do nothing;
    if not found then
        raise exception 'There is a tenant % already', create_tenant.slug
            using errcode = 'ZI003', hint = 'A slug is given once in an installation; choose another.';
    end if;

    -- What follows belongs to the new tenant, and row security admits it only in that tenant's context.
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));
    insert into identity.tenants (id, slug, display_name, region)
    values (v_tenant_id, create_tenant.slug, create_tenant.display_name, create_tenant.region);
    perform authz.copy_role_templates();
    perform analytics.create_default_cost_centers();

    perform set_config('enterprise_ai.context', coalesce(v_context, ''), true);
    return v_tenant_id;
end
$$;

comment on function identity.create_tenant(text, text, text) is
    'Make a tenant with the default roles, permissions and cost centres; returns its id. The caller''s context
stays as it was. Raises ZI003 when the slug is taken, 23514 (naming the rule) when it is not a slug.';

revoke all on function identity.create_tenant(text, text, text) from public;
grant execute on function identity.create_tenant(text, text, text) to enterprise_ai_operator;
-- <<<

-- rollback:
--   drop function identity.create_tenant(text, text, text);
--   drop table audit.investigation_items;
--   drop table audit.investigations;
--   drop table audit.security_events;
--   drop table audit.tenant_security_rules;
--   drop table audit.security_rules;
--   drop table audit.change_approvals;
--   drop table audit.change_sets;
--   drop table audit.approval_policies;
--   drop table audit.ledger_blocks;
--   drop table audit.change_tracking;
--   drop table audit.audit_logs;
--   drop table security.legal_hold_custodians;
--   drop table security.legal_holds;
--   drop function security._keep_open_holds();
--   drop table security.tenant_retention_policies;
--   drop table security.retention_policies;
--   drop table security.data_subject_requests;
--   drop table security.assessment_results;
--   drop table security.compliance_assessments;
--   drop table security.requirement_controls;
--   drop table security.compliance_controls;
--   drop table security.compliance_requirements;
--   drop table security.compliance_frameworks;
--   drop table security.encrypted_data_registry;
--   drop table security.encryption_keys;
--   drop function security._set_rotate_at();
--   drop function security._set_due_at();
--   drop table security.tenant_masking_policies;
--   drop table security.masking_policies;
--   drop table security.pii_findings;
--   drop table security.pii_detectors;
--   drop table security.data_elements;
--   drop table security.pii_categories;
--   drop table security.data_classifications;
--   drop table analytics.monitor_events, analytics.monitors;
--   drop table analytics.report_executions, analytics.analytics_reports;
--   drop table analytics.performance_metrics, analytics.usage_rollup_watermarks, analytics.usage_rollups;
--   drop table analytics.allocation_rule_targets, analytics.allocation_rules;
--   drop table analytics.cost_allocations, analytics.billing_periods;
--   drop table analytics.budget_holds, analytics.budget_reservations, analytics.budget_windows, analytics.budgets;
--   drop table analytics.api_usage_logs, analytics.usage_sessions;
--   drop table analytics.cost_center_assignments, analytics.cost_centers;
--   drop function analytics._keep_closed_periods();
--   drop function analytics.create_default_cost_centers();
--   drop function analytics._refuse_cycle();
