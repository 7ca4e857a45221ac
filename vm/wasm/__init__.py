"""Engines that run as WebAssembly: a typed emitter, and the interpreter generated with it."""
