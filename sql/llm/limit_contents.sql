create or replace function llm._refuse_too_large()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_largest bigint := (select max(c.byte_size) from changed as c);
    v_limit bigint := platform.setting('limits.upload_bytes')::bigint;
begin
    if v_largest > v_limit then
        raise exception 'A document of % bytes is larger than % are taken', v_largest, v_limit
            using errcode = 'ZL004', hint = 'The setting limits.upload_bytes says how large; nothing was stored.';
    end if;
    return null;
end
$$;

comment on function llm._refuse_too_large() is 'After-statement trigger: no document is larger than limits.upload_bytes.';

revoke all on function llm._refuse_too_large() from public;


create or replace function llm._limit_contents()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_longest integer;
    v_most bigint := 0;
begin
    select max(length(c.content)) into v_longest from changed as c;
    if v_longest > platform.setting('limits.message_characters')::bigint then
        raise exception 'A part of % characters is longer than messages may be', v_longest
            using errcode = 'ZL004', hint = 'The setting limits.message_characters says how long; nothing was stored.';
    end if;
    if exists (select from changed as c where c.kind = 'document') then
        select max(of_one.parts) into v_most
        from (
            select count(*) as parts
            from llm.message_contents as all_parts
            where all_parts.tenant_id = v_tenant_id
              and all_parts.message_id in (select c.message_id from changed as c where c.kind = 'document')
              and all_parts.kind = 'document'
            group by all_parts.message_id) as of_one;
        if v_most > platform.setting('limits.attachments_per_message')::bigint then
            raise exception 'A message with % documents has more than messages may have', v_most
                using errcode = 'ZL004', hint = 'The setting limits.attachments_per_message says how many; nothing was stored.';
        end if;
    end if;
    return null;
end
$$;

comment on function llm._limit_contents() is
    'After-statement trigger: no part is longer than limits.message_characters, and no message has more documents than
limits.attachments_per_message.';

revoke all on function llm._limit_contents() from public;
