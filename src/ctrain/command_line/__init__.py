"""What the command ``ctrain`` does; ``ctrain.__main__`` runs it."""
