"""What the sub-commands of `ckb-node` do, one file each; `ckb_node/cli/main.py` reads their options."""
