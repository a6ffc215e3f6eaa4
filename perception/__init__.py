"""Neural networks, data sets and supervised tasks; independent of agents and worlds."""
