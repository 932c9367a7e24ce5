"""What people look at after a build: the terminal, report.json and report.html."""
