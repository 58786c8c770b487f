"""The verbs, a family in each file; a file is loaded when one of its verbs is called."""
