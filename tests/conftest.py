"""For all tests, and for the processes they start."""

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads only slow networks this small
if "MEDSEG_CACHE" not in os.environ:  # what tests compile is not kept among the user's
    os.environ["MEDSEG_CACHE"] = tempfile.mkdtemp(prefix="medseg-tests-")
    atexit.register(shutil.rmtree, os.environ["MEDSEG_CACHE"], ignore_errors=True)

settings.register_profile("medseg", deadline=None)  # a busy machine is no fault
settings.load_profile("medseg")
