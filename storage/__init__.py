"""The chain on disk: block bodies in append-only files, all else in LevelDB. Knows consensus, nothing of the node.

`ChainStore.open(path)` opens or creates a database; `view()` gives readers the chain as of the last commit, `begin()`
the one writer a transaction. `ChainStore.in_memory()` is the same without a disk.

    with ChainStore.open(path) as store, store.view() as view:
        print(view.tip_header().number)
"""

from storage.chain_store import ChainStore, ChainStoreOptions, ChainView
from storage.chain_txn import ChainTxn
from storage.errors import StorageCorrupt, StorageError
from storage.header_rows import KnownHeaders
from storage.leveldb import LevelDbOptions

__all__ = [
    "ChainStore",
    "ChainStoreOptions",
    "ChainTxn",
    "ChainView",
    "KnownHeaders",
    "LevelDbOptions",
    "StorageCorrupt",
    "StorageError",
]
