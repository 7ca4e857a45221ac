"""Real nodes in processes of their own, and the directories they run in."""
