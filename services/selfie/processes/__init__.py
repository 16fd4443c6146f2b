"""Processes of this machine: how they are told apart, started, and started without waiting for imports."""
