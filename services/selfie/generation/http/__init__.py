"""What every engine behind HTTP shares: pooled clients, trace headers, and what failures mean."""
