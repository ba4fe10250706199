"""SCIM 2.0 (RFC 7643, RFC 7644): a directory provisions the people and groups of its tenant over HTTP.

    app = ScimApp(connect("postgresql:///enterprise_ai"))     # an ASGI application, to be mounted anywhere

Needs the extra `scim`. The protocol is scim2-server's; here are the schemas, what is stored of them, and how.
"""

from __future__ import annotations

from enterprise_ai.identity.scim.app import ScimApp

__all__ = ["ScimApp"]
