"""Stock MONAI in a process of its own, for it warns where our tests do not let it: `python stock_monai.py JOBS RESULTS`.

JOBS is a JSON list of {"do": a function of monai.bundle, "with": its arguments}; RESULTS becomes the list of what each
failed with, empty where it did not.
"""

import json
import sys
import traceback
from pathlib import Path

import monai.bundle

results = []
for job in json.loads(Path(sys.argv[1]).read_text()):
    try:
        getattr(monai.bundle, job["do"])(**job["with"])
        results.append("")
    except Exception:
        results.append(traceback.format_exc())
Path(sys.argv[2]).write_text(json.dumps(results))
