"""What tests of the whole node share: a dev chain in the process, a wallet, blocks made by hand."""
