create or replace function authz.close_due_reviews()
    returns table (tenant_id uuid, review_id uuid, withdrawn integer, error text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- opens one tenant's context after the other, and withdraws rights
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_outer text := current_setting('enterprise_ai.context', true);
begin
    for tenant_id in select d.tenant_id from identity.tenant_directory as d order by d.tenant_id loop
        perform platform._seal_context(jsonb_build_object('tenant_id', tenant_id));
        for review_id in
            select r.id
            from authz.access_reviews as r
            join identity.tenants as t on t.id = close_due_reviews.tenant_id and t.status <> 'deleting'
            where r.tenant_id = close_due_reviews.tenant_id and r.status = 'open' and r.auto_revoke
              and r.due_at <= statement_timestamp()
            order by r.due_at
        loop
            -- What goes wrong with one holds up no other.
            begin
                error := null;
                withdrawn := authz._close_due(tenant_id, review_id);
            exception
                when others then
                    withdrawn := 0;
                    error := sqlstate || ' ' || sqlerrm;
            end;
            return next;
        end loop;
    end loop;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function authz.close_due_reviews() is
    'Close the reviews of all tenants that are due and withdraw by themselves what nobody has confirmed; call it again and
again. Returns each with how much it withdrew, or what stood in its way: that one stays as it was.';

revoke all on function authz.close_due_reviews() from public;
grant execute on function authz.close_due_reviews() to enterprise_ai_operator;


create or replace function authz._close_due(tenant_id uuid, review_id uuid)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_item record;
    v_is_withdrawn boolean;
    v_withdrawn integer := 0;
begin
    perform authz._touch_epoch(_close_due.tenant_id);
    for v_item in
        select i.id, i.assignment_kind, i.assignment_id
        from authz.access_review_items as i
        where i.tenant_id = _close_due.tenant_id and i.review_id = _close_due.review_id and i.decided_at is null
    loop
        v_is_withdrawn := authz._withdraw(_close_due.tenant_id, v_item.assignment_kind, v_item.assignment_id);
        v_withdrawn := v_withdrawn + v_is_withdrawn::integer;
        update authz.access_review_items as i
        set decision = 'revoke', decided_at = clock_timestamp(),
            revoked_at = case when v_is_withdrawn then clock_timestamp() end
        where i.tenant_id = _close_due.tenant_id and i.id = v_item.id and i.decided_at is null;
    end loop;
    perform authz._close_if_decided(_close_due.tenant_id, _close_due.review_id);
    return v_withdrawn;
end
$$;

comment on function authz._close_due(uuid, uuid) is
    'Withdraw what nobody has confirmed in a review, and close it; returns how much was withdrawn.';

revoke all on function authz._close_due(uuid, uuid) from public;
