create or replace function llm._check_job_transition()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if new.status <> old.status
       and old.status || ' to ' || new.status <> all (array[
           'queued to running', 'queued to cancelled',
           'running to queued', 'running to succeeded', 'running to dead', 'running to cancelled',
           'dead to queued'])
    then
        raise exception 'Document job % is % and cannot become %', old.id, old.status, new.status
            using errcode = 'ZL002',
                  hint = 'A job that has succeeded or was cancelled is over: queue a new one.';
    end if;

    -- Whoever holds an older token than the row's has lost the job, so a new lease always has a higher one.
    if new.fencing_token < old.fencing_token
       or (new.status = 'running'
           and new.lease_owner is distinct from old.lease_owner
           and new.fencing_token = old.fencing_token)
    then
        raise exception 'The lease of document job % needs a fencing token above %', old.id, old.fencing_token
            using errcode = 'ZL003',
                  hint = 'Each lease adds one to fencing_token, and it never goes back.';
    end if;
    return new;
end
$$;

comment on function llm._check_job_transition() is
    'Before-row trigger: a job goes only from queued to running to its end or back into the queue (ZL002), and
each new lease has a higher fencing token (ZL003).';

revoke all on function llm._check_job_transition() from public;
