"""The verbs that take overrides and make something of each job: build, the one without a word, and plan."""
