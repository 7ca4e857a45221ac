"""Fakes of what network.peer declares, for the tests of protocols and of what stands above them."""
