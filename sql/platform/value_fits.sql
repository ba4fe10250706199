create or replace function platform.value_fits(
    value jsonb, value_type text, minimum numeric, maximum numeric, allowed_values jsonb)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select (allowed_values is null or allowed_values @> jsonb_build_array(value))
       and case
               when value_type = 'integer' and jsonb_typeof(value) = 'number' then value::numeric % 1 = 0
               else jsonb_typeof(value) = value_type
           end
       and case
               when jsonb_typeof(value) <> 'number' then true
               else (minimum is null or value::numeric >= minimum)
                    and (maximum is null or value::numeric <= maximum)
           end
$$;

comment on function platform.value_fits(jsonb, text, numeric, numeric, jsonb) is
    'True when a setting''s value has its declared type, lies within its bounds and is one of its allowed values.';

revoke all on function platform.value_fits(jsonb, text, numeric, numeric, jsonb) from public;
grant execute on function platform.value_fits(jsonb, text, numeric, numeric, jsonb)
    to enterprise_ai_app, enterprise_ai_operator;
