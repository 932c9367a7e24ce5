"""What travels in a kit and finishes a build on the device: Python 3.8, the standard library, nothing else of ours."""
