"""The instruction set as data: what every engine decodes, charges and fuses by."""
