-- A campaign lists what people and groups have been given, and names somebody for each who says whether it stays.
-- What a rule or a directory gives is not listed: it would come back, and is looked at where the rule is.

create or replace function authz.open_access_review(
    name text,
    reviewer_id uuid,
    due_at timestamptz default null,
    scope jsonb default '{}',
    reviewers text default 'named',
    auto_revoke boolean default false)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.manage_policies');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_id uuid;
    v_unreviewed record;
    v_kinds constant jsonb :=
        '["user_role", "group_role", "user_permission", "group_permission", "delegation", "proxy_grant"]';
begin
    if not scope - array['kinds', 'role_ids', 'group_ids', 'user_ids'] = '{}'
       or exists (select from jsonb_each(scope) as s where jsonb_typeof(s.value) <> 'array')
       -- A review of a kind that there is not would have nothing to decide, and be over at once.
       or not coalesce(scope -> 'kinds', '[]') <@ v_kinds then
        raise exception 'The scope % cannot be used', scope
            using errcode = 'ZA009',
                  hint = 'It has lists under kinds, role_ids, group_ids and user_ids; any may be absent. A kind is '
                         'user_role, group_role, user_permission, group_permission, delegation or proxy_grant.';
    end if;
    insert into authz.access_reviews (tenant_id, name, scope, reviewers, reviewer_id, due_at, auto_revoke, created_by)
    values (v_tenant_id, open_access_review.name, open_access_review.scope, open_access_review.reviewers,
            open_access_review.reviewer_id, coalesce(open_access_review.due_at, now() + interval '30 days'),
            open_access_review.auto_revoke, (v_context ->> 'user_id')::uuid)
    returning id into v_id;

    for v_unreviewed in
        select a.kind, a.subject_id
        from authz._assignments(v_tenant_id) as a
        where authz._is_in_scope(a.kind, a.subject_id, a.is_group, a.role_id, scope)
          and coalesce(a.valid_until > now(), true)
          and coalesce(a.assignment ->> 'source', 'manual') = 'manual'
          and authz._reviewer_of(v_tenant_id, v_id, a.subject_id, a.is_group, a.resource_id) is null
        limit 1
    loop
        raise exception 'Nobody is left to review the % of %', v_unreviewed.kind, v_unreviewed.subject_id
            using errcode = 'ZA021',
                  hint = 'Name a reviewer who is active, and is neither the one reviewed nor in the group.';
    end loop;

    insert into authz.access_review_items (
        tenant_id, review_id, assignment_kind, assignment_id, subject_id, assignment, reviewer_id)
    select v_tenant_id, v_id, a.kind, a.id, a.subject_id,
           jsonb_strip_nulls(a.assignment || jsonb_build_object('role', r.name, 'permission', p.name)),
           authz._reviewer_of(v_tenant_id, v_id, a.subject_id, a.is_group, a.resource_id)
    from authz._assignments(v_tenant_id) as a
    left join authz.roles as r on r.tenant_id = v_tenant_id and r.id = a.role_id
    left join authz.permissions as p on p.id = a.permission_id
    where authz._is_in_scope(a.kind, a.subject_id, a.is_group, a.role_id, scope)
      and coalesce(a.valid_until > now(), true)
      and coalesce(a.assignment ->> 'source', 'manual') = 'manual';
    perform authz._close_if_decided(v_tenant_id, v_id);
    return v_id;
end
$$;

comment on function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean) is
    'Begin a review of what has been given by hand and has not ended, of everything or of a scope
{"kinds": […], "role_ids": […], "group_ids": […], "user_ids": […]}; returns its id. For each one person decides: the named
reviewer, or first the manager, or the owner of the resource (reviewers). With auto_revoke what nobody has confirmed by
then is withdrawn. It takes permission.manage_policies (ZA010). Raises ZA009 for a scope of another shape, ZA021 when
nobody could review something but the one who has it.';

revoke all on function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean) from public;
grant execute on function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean) to enterprise_ai_app;


create or replace function authz._is_in_scope(kind text, subject_id uuid, is_group boolean, role_id uuid, scope jsonb)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select (not scope ? 'kinds' or scope -> 'kinds' ? kind)
       and (not scope ? 'role_ids' or coalesce(scope -> 'role_ids' ? role_id::text, false))
       and (not scope ?| '{group_ids,user_ids}'
            or coalesce(scope -> case when is_group then 'group_ids' else 'user_ids' end ? subject_id::text, false))
$$;

comment on function authz._is_in_scope(text, uuid, boolean, uuid, jsonb) is
    'Whether an assignment is of what a review looks at.';

revoke all on function authz._is_in_scope(text, uuid, boolean, uuid, jsonb) from public;


create or replace function authz._reviewer_of(
    tenant_id uuid,
    review_id uuid,
    subject_id uuid,
    is_group boolean,
    resource_id uuid)
    returns uuid
    language plpgsql
    stable
    parallel restricted
as $$
begin
    -- The one that the rule names, else the named one, else that one's manager, else who opened the review.
    return (
        select c.id
        from authz.access_reviews as v
        cross join lateral (
            values (1, case
                        when v.reviewers = 'manager' and not is_group then (
                            select p.manager_id
                            from identity.user_profiles as p
                            where p.tenant_id = _reviewer_of.tenant_id and p.user_id = subject_id)
                        when v.reviewers = 'owner' then (
                            select r.owner_id
                            from authz.resources as r
                            where r.tenant_id = _reviewer_of.tenant_id and r.id = _reviewer_of.resource_id)
                    end),
                   (2, v.reviewer_id),
                   (3, (select p.manager_id
                        from identity.user_profiles as p
                        where p.tenant_id = _reviewer_of.tenant_id and p.user_id = v.reviewer_id)),
                   (4, v.created_by)
        ) as c (place, id)
        join identity.users as u on u.tenant_id = _reviewer_of.tenant_id and u.id = c.id and u.status = 'active'
        where v.tenant_id = _reviewer_of.tenant_id and v.id = _reviewer_of.review_id
          and authz._may_review(c.id, subject_id, is_group)
        order by c.place
        limit 1);
end
$$;

comment on function authz._reviewer_of(uuid, uuid, uuid, boolean, uuid) is
    'Who is to review what somebody has been given; null when nobody can.';

revoke all on function authz._reviewer_of(uuid, uuid, uuid, boolean, uuid) from public;


create or replace function authz._may_review(user_id uuid, subject_id uuid, is_group boolean)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return _may_review.user_id <> subject_id
       and not (is_group and subject_id in (select g.id from identity.groups_of(_may_review.user_id) as g (id)));
end
$$;

comment on function authz._may_review(uuid, uuid, boolean) is
    'Whether what a user or a group has is somebody else''s, and so theirs to review.';

revoke all on function authz._may_review(uuid, uuid, boolean) from public;


create or replace function authz.decide_review_item(item_id uuid, decision text, comment text default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record, or rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
    v_item authz.access_review_items;
    v_is_group boolean;
    v_is_withdrawn boolean := false;
begin
    select i.* into v_item
    from authz.access_review_items as i
    join authz.access_reviews as r on r.tenant_id = v_tenant_id and r.id = i.review_id and r.status = 'open'
    where i.tenant_id = v_tenant_id and i.id = decide_review_item.item_id and i.decided_at is null;
    if v_item.id is null then
        raise exception 'There is nothing to decide under %', decide_review_item.item_id
            using errcode = 'ZA022', hint = 'It is decided, its review is over, or it never was.';
    end if;
    v_is_group := v_item.assignment_kind like 'group%';
    if not authz._may_review(v_user_id, v_item.subject_id, v_is_group)
       or not authz._may_review(coalesce((v_context ->> 'actor_id')::uuid, v_user_id), v_item.subject_id, v_is_group)
       or (v_user_id <> v_item.reviewer_id and not authz._may(v_context, 'permission.review', null)) then
        raise exception 'User % cannot decide on this', v_user_id
            using errcode = 'ZA010', hint = 'It takes its reviewer, or permission.review; nobody reviews what they have.';
    end if;

    if decide_review_item.decision = 'revoke' then
        v_is_withdrawn := authz._withdraw(v_tenant_id, v_item.assignment_kind, v_item.assignment_id);
    end if;
    update authz.access_review_items as i
    set decision = decide_review_item.decision, comment = decide_review_item.comment, decided_by = v_user_id,
        decided_at = clock_timestamp(), revoked_at = case when v_is_withdrawn then clock_timestamp() end
    where i.tenant_id = v_tenant_id and i.id = v_item.id;
    perform authz._close_if_decided(v_tenant_id, v_item.review_id);
    return v_is_withdrawn;
end
$$;

comment on function authz.decide_review_item(uuid, text, text) is
    'Decide on one assignment of a review, for good: keep, or revoke, which withdraws it at once; true when it was
withdrawn. The last decision closes the review. For its reviewer, or who has permission.review, never for who has the
assignment (ZA010). Raises ZA022 when there is nothing to decide, 23514 for another decision.';

revoke all on function authz.decide_review_item(uuid, text, text) from public;
grant execute on function authz.decide_review_item(uuid, text, text) to enterprise_ai_app;


create or replace function authz._close_if_decided(tenant_id uuid, review_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    update authz.access_reviews as r
    set status = 'closed', closed_at = clock_timestamp()
    where r.tenant_id = _close_if_decided.tenant_id and r.id = _close_if_decided.review_id and r.status = 'open'
      and not exists (
          select
          from authz.access_review_items as i
          where i.tenant_id = _close_if_decided.tenant_id and i.review_id = _close_if_decided.review_id
            and i.decided_at is null);
end
$$;

comment on function authz._close_if_decided(uuid, uuid) is 'Close a review in which nothing is left to decide.';

revoke all on function authz._close_if_decided(uuid, uuid) from public;


create or replace function authz.cancel_access_review(review_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    update authz.access_reviews as r
    set status = 'cancelled', closed_at = clock_timestamp()
    where r.tenant_id = v_tenant_id and r.id = cancel_access_review.review_id and r.status = 'open';
    return found;
end
$$;

comment on function authz.cancel_access_review(uuid) is
    'Give up a review; what was decided in it stays. False when there is none of that id that is open. It takes
permission.manage_policies (ZA010).';

revoke all on function authz.cancel_access_review(uuid) from public;
grant execute on function authz.cancel_access_review(uuid) to enterprise_ai_app;


create or replace function authz.access_review_progress(review_id uuid)
    returns table (total bigint, kept bigint, revoked bigint, undecided bigint, is_overdue boolean)
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select count(i.id), count(*) filter (where i.decision = 'keep'), count(*) filter (where i.decision = 'revoke'),
           count(i.id) filter (where i.decision is null), r.status = 'open' and r.due_at <= statement_timestamp()
    from authz.access_reviews as r
    left join authz.access_review_items as i on i.tenant_id = r.tenant_id and i.review_id = r.id
    where r.tenant_id = platform.current_tenant_id() and r.id = access_review_progress.review_id
    group by r.status, r.due_at;
end
$$;

comment on function authz.access_review_progress(uuid) is
    'How far a review is: complete when nothing is undecided. No row when there is none of that id.';

revoke all on function authz.access_review_progress(uuid) from public;
grant execute on function authz.access_review_progress(uuid) to enterprise_ai_app;
