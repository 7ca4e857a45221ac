"""Accounts: private keys in the files that ckb-cli uses too."""
