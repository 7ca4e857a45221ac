"""Assemblers, random programs, and machines to run them on."""
