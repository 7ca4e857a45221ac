"""Eaglesong's bit matrix as a straight line of XORs.

Each word of the next state is the XOR of those words that a column of `consensus.crypto.eaglesong.BIT_MATRIX` marks:
120 XORs when each is made by itself. A search for shared parts (Paar's, randomised) got them down to 58. A test derives
the matrix from this program.
"""

from typing import Final

# fmt: off
MATRIX_STEPS: Final = (
    (0, 1), (3, 4), (2, 9), (11, 15), (12, 16), (5, 17), (7, 15), (2, 14), (6, 22), (8, 20),
    (13, 18), (10, 23), (19, 21), (13, 25), (10, 18), (6, 28), (16, 19), (1, 17), (21, 27), (3, 8),
    (0, 24), (14, 26), (7, 35), (13, 34), (4, 29), (6, 27), (32, 38), (1, 7), (20, 37), (11, 25),
    (30, 42), (12, 36), (37, 43), (5, 46), (17, 29), (16, 24), (25, 31), (0, 27), (4, 5), (41, 50),
    (10, 52), (2, 45), (14, 31), (19, 33), (24, 44), (8, 9), (26, 33), (34, 51), (38, 53), (4, 60),
    (12, 62), (47, 54), (3, 57), (15, 40), (59, 61), (26, 32), (28, 48), (30, 36),
)
# fmt: on
"""Step i makes value 16 + i of two values before it; values 0 to 15 are the state."""

MATRIX_RESULTS: Final = (67, 69, 65, 55, 72, 64, 70, 73, 56, 71, 63, 68, 66, 39, 58, 49)
"""Which values are the words of the next state."""
