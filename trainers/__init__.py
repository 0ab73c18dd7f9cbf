"""What turns trajectories into a better policy: credit, batches, losses, the update loop."""
