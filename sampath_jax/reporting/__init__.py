"""Reports of one run, tables of several, and their figures."""
