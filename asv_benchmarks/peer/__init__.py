"""One module for each library that peers.py compares; each runs in a process of its own."""
