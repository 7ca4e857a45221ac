"""The stratum server: work for miners by line-delimited JSON over TCP and TLS, in the dialects that they speak."""
