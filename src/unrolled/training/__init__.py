"""Training: the loop, budgets, schedules, optimisers, exact resume. It emits events and knows no bars and no samples."""
