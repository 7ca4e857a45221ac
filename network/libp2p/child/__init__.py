"""The libp2p process. Nothing else imports what is here: its library runs on trio and can be ended by a peer."""
