"""Neural components that know no agent."""
