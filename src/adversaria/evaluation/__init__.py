"""How good samples are: scores, what they cost, memorisation and usefulness."""
