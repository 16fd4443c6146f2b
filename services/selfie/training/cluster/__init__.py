"""Jobs of a training controller as Kubernetes Jobs."""
