-- Where standard_conforming_strings is off, which anybody may do in a session before a function's first call in it, a
-- backslash in a plain literal means something else. Write e'\\', a dollar-quoted literal, or a class like [0-9] or [.].
select p.oid::regprocedure as function_name, line.text
from pg_proc as p
cross join lateral regexp_replace(p.prosrc, '--[^\n]*', '', 'g') as code (text)
cross join lateral regexp_replace(code.text, e'\\m[eE]''(?:[^''\\\\]|\\\\.|'''')*''', '', 'g') as plain (text)
cross join lateral regexp_replace(plain.text, e'[$](\\w+)[$].*?[$]\\1[$]', '', 'g') as undollared (text)
cross join lateral regexp_split_to_table(undollared.text, '\n') as line (text)
where p.pronamespace::regnamespace::name = any (platform.domains())
  and line.text like e'%\\\\%';
