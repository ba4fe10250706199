#!/usr/bin/env python3
# ruff: noqa: PTH100, PTH112, PTH118, PTH120  pathlib would cost a tenth of a no-op run
"""Run the migrations of this directory: `./run_migrations.py migrate`, `status`, `rollback FILE`."""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(os.path.dirname(HERE), "src")
if os.path.isdir(SOURCES):
    sys.path.insert(0, SOURCES)

from enterprise_ai.migrate.cli import run  # noqa: E402

if __name__ == "__main__":
    run("run_migrations.py", HERE)
