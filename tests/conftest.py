"""For all tests, and for the processes they start."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads only slow networks this small
