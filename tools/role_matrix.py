"""Write docs/reference/roles.md, the role × permission table, from a migrated database.

Usage: python tools/role_matrix.py [--check] [DATABASE_URL]; the URL may be in the environment instead."""

import os
import sys
from pathlib import Path

import psycopg

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "roles.md"

HEAD = """# Roles and permissions

Every tenant starts with these roles, copied from shared templates and kept in step with them; a role of your
own can inherit from any of them. Made by `tools/role_matrix.py` from `authz.role_templates`.

- ● on all resources of the type, or on those within the scope that the role was given for
- ○ only on resources that the holder owns
- **second factor**: one must have signed in with it; **not delegable**: whoever has it cannot pass it on;
  **approval**: what one user grants of it counts once another has approved it

"""
ROLES = """
select t.name, t.description,
       (select string_agg(i.parent_name, ', ' order by i.parent_name)
        from authz.role_template_inheritance as i where i.role_name = t.name)
from authz.role_templates as t order by t.name collate "C"
"""
# What a role has itself and by inheritance; of two rights the wider counts.
PERMISSIONS = """
with recursive above (role_name, ancestor) as (
    select name, name from authz.role_templates
    union
    select above.role_name, i.parent_name
    from above join authz.role_template_inheritance as i on i.role_name = above.ancestor
), effective as (
    select above.role_name, p.permission_id, case when bool_and(p.only_own) then '○' else '●' end as mark
    from above join authz.role_template_permissions as p on p.role_name = above.ancestor
    where p.inheritable or above.ancestor = above.role_name group by above.role_name, p.permission_id
)
select t.display_name, t.description, p.name,
       p.description || coalesce(' (**' || nullif(concat_ws(', ',
           case when p.minimum_authentication_level > 1 then 'second factor' end,
           case when p.requires_approval then 'approval' end,
           case when not p.delegable then 'not delegable' end), '') || '**)', ''),
       array(select (select e.mark from effective as e where (e.permission_id, e.role_name) = (p.id, r.name))
             from authz.role_templates as r order by r.name collate "C")
from authz.permissions as p join authz.resource_types as t on t.name = p.resource_type order by p.id
"""


def page(conn: psycopg.Connection) -> str:
    roles = conn.execute(ROLES).fetchall()
    text = HEAD + "| Role | For | Inherits from |\n|---|---|---|\n"
    text += "".join(f"| `{name}` | {what} | {parents or ''} |\n" for name, what, parents in roles)
    section, columns = "", " | ".join(f"`{name}`" for name, _, _ in roles)
    for title, about, permission, what, marks in conn.execute(PERMISSIONS):
        if title != section:
            section = title
            text += f"\n## {title}\n\n{about}\n\n| Permission | {columns} |\n|---|{':-:|' * len(roles)}\n"
        text += f"| `{permission}`<br>{what} | {' | '.join(mark or '' for mark in marks)} |\n"
    return text


def main(arguments: list[str]) -> None:
    urls = [word for word in arguments if word != "--check"] or [os.environ.get("DATABASE_URL", "")]
    if not urls[0]:
        sys.exit("Which database? Give its URL as an argument or in DATABASE_URL.")
    with psycopg.connect(urls[0]) as conn:
        made = page(conn)
    if "--check" not in arguments:
        PAGE.write_text(made, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
        sys.exit(f"{PAGE} is not what the database says; run python tools/role_matrix.py on it again.")


if __name__ == "__main__":
    main(sys.argv[1:])
