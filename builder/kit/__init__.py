"""Kits: what a build hands to another machine, and what comes back."""
