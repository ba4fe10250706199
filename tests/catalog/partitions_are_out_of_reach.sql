-- A partition has no row security of its own, so nobody but its owner is granted anything on it.
select c.oid::regclass as partition, acl.grantee::regrole
from pg_class as c
cross join lateral aclexplode(c.relacl) as acl
where (c.relispartition or c.relnamespace::regnamespace::name like '%\_parts')
  and acl.grantee <> c.relowner;
