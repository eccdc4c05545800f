"""`python -m blocks.embedded STATE IDLE LOCK`: the supervisor process; `ensure` starts it."""

import os
import sys
from pathlib import Path

from blocks.embedded.supervisor import supervise

if __name__ == "__main__":
    supervise(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    os._exit(0)  # at once: whoever stops the server counts on us being gone
