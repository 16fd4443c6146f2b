"""What runs in the pod of a training Job: the program, and around it what the program need not know."""
