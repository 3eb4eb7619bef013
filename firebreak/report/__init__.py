"""The containment report of one incident, made from its evidence package and nothing else."""
