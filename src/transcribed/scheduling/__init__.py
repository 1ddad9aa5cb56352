"""Who computes when: a pure policy, and the scheduler that owns the inference threads."""
