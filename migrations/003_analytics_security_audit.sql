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
comment on column analytics.budgets.model_name is 'A model as usage names it: the one that answered.';
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
create index cost_allocations_sku_id_idx
    on analytics.cost_allocations (tenant_id, sku_id, charge_period_start) where sku_id is not null;
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
comment on column analytics.cost_allocations.sku_id is 'What was sold: the model.';
comment on column analytics.cost_allocations.sku_meter is
    'What of it was counted, e.g. input, cached input, output.';
comment on column analytics.cost_allocations.sku_price_id is
    'The price that was applied (llm.llm_model_prices).';
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
