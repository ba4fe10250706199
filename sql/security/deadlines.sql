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
