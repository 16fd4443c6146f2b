"""What runs tell Prometheus: the method's own figures, by run and by round, wherever a run is carried out."""
