"""Block download: what is asked of whom, what has come, how it gets to the writer; and answers to GetBlocks."""
