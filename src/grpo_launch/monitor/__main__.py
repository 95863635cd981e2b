"""``python -m grpo_launch.monitor``, the same as ``grpo-runs``."""

import sys

from grpo_launch.monitor.cli import main

sys.exit(main())
