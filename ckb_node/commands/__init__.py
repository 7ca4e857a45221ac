"""What the sub-commands of `ckb-node` do, one file each; `ckb_node/cli.py` reads their options."""
