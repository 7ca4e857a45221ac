"""`python -m ckb_node` is `ckb-node`.

Python looks for modules in the current directory first then, where others may have put theirs: it is taken off the
path, unless this package itself is there. What Python imports before that is out of reach; `ckb-node` has no such path.
"""

import sys
from pathlib import Path

if not sys.flags.safe_path and sys.path[0] != str(Path(__file__).resolve().parents[1]):
    del sys.path[0]

from ckb_node.cli.main import main

main()
