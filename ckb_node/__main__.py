"""`python -m ckb_node` is `ckb-node`."""

from ckb_node.cli import main

main()
