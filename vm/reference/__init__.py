"""The readable engine: one function per instruction, no tricks. The oracle of the fast engines."""
