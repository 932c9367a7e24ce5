"""What makes a model into what a runtime loads: one module for each runtime, a step each."""
