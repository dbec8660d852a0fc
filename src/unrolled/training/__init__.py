"""Training: the loop, budgets, schedules, optimisers, exact resume.

It emits events and knows nothing of bars or samples.
"""
