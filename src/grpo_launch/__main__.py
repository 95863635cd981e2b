"""``python -m grpo_launch``."""

import sys

from grpo_launch.cli import main

sys.exit(main())
