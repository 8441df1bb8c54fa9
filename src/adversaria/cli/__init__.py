"""The commands: parse, build, run, print where the results are."""
