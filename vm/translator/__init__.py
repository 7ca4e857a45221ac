"""Translates hot programs to WebAssembly: one function per RISC-V function, the interpreter for everything else."""
