"""The training controller: creates and follows the programs of a run that are not services."""
