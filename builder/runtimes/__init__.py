"""What runs an artifact: one module for each runtime."""
