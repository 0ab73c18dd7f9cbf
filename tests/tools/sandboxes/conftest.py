"""The battery's own modules are plain scripts, so that the system's Python can run them too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
