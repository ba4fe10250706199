-- Deleting a tenant cascades through everything. Cascades go level by level, and a foreign key with "no action"
-- is checked one level after the row it points at goes: so the table that holds it must go at the same level at
-- the latest, as a rule by a foreign key of its own to identity.tenants, "on delete cascade".
with recursive cascades (oid, level) as (
    select 'identity.tenants'::regclass::oid, 0
    union
    select c.conrelid, cascades.level + 1
    from cascades
    join pg_constraint as c on c.confrelid = cascades.oid and c.contype = 'f' and c.confdeltype = 'c'
    where cascades.level < 10 and c.conrelid <> c.confrelid
),
first (oid, level) as (select oid, min(level) from cascades group by oid)
select c.conrelid::regclass as table_name, c.conname
from pg_constraint as c
join first as target on target.oid = c.confrelid
left join first as holder on holder.oid = c.conrelid
where c.contype = 'f'
  and c.confdeltype in ('a', 'r')
  and c.conrelid <> c.confrelid
  and coalesce(holder.level, 99) > target.level;
