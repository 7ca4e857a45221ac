"""`ckb-node debug`: runs scripts under watch. Where transactions come from, who watches, what is printed."""
