"""What must hold when things break: kills, races, faults, clean-up, memory. Real servers, real causes."""
