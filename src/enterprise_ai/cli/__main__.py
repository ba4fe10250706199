"""`python -m enterprise_ai.cli` is the same as `enterprise-ai`."""

import sys

from enterprise_ai.cli import main

sys.exit(main())
