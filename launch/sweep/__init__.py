"""A sweep's folder, its runs' states, and the plan of what to do with them."""
