create or replace function authz._keep_evidence()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        -- It goes only together with its tenant.
        if exists (select from identity.tenants as t where t.id = old.tenant_id and t.status <> 'deleting') then
            raise exception '% cannot be deleted', tg_argv[0]
                using errcode = 'ZA020', hint = 'It is what later reviews look at.';
        end if;
        return old;
    end if;
    if to_jsonb(old) ->> tg_argv[1] is not null
       or to_jsonb(new) - tg_argv[2]::text[] <> to_jsonb(old) - tg_argv[2]::text[] then
        raise exception '% cannot be changed', tg_argv[0]
            using errcode = 'ZA020', hint = 'It is what later reviews look at.';
    end if;
    return new;
end
$$;

comment on function authz._keep_evidence() is
    'Before-row trigger with three arguments: what is kept, the column that makes a row final once it is set, and the
columns that may change until then. Raises ZA020.';

revoke all on function authz._keep_evidence() from public;
