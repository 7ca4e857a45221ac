"""Who works for whom: lanes of threads beside the event loop, shared fairly by the clients that wait for them."""
