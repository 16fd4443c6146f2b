"""The filtering service: decides which self-made pairs are trained on, and how much each is trusted."""
