"""Stock MONAI in a process of its own, for it warns where our tests do not let it: `stock_monai.py JOBS RESULTS`.

JOBS is a JSON list of {"do": a function of monai.bundle, "with": its arguments}; RESULTS becomes the list of what each
failed with, empty where it did not.
"""

import json
import sys
import traceback
from pathlib import Path


def main(jobs, results):
    import monai.bundle

    failures = []
    for job in json.loads(Path(jobs).read_text()):
        try:
            getattr(monai.bundle, job["do"])(**job["with"])
            failures.append("")
        except Exception:
            failures.append(traceback.format_exc())
    Path(results).write_text(json.dumps(failures))


if __name__ == "__main__":
    main(*sys.argv[1:])
