"""Request bodies are checked in processes of their own, so that nobody waits for another caller's body."""
