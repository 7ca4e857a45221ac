"""Print name, size, data hash (CKB's BLAKE2b) and SHA-256 of each file, one line each."""

import hashlib
import sys
from pathlib import Path

for argument in sys.argv[1:]:
    data = Path(argument).read_bytes()
    data_hash = hashlib.blake2b(data, digest_size=32, person=b"ckb-default-hash").hexdigest()
    print(Path(argument).name, len(data), "0x" + data_hash, hashlib.sha256(data).hexdigest())
