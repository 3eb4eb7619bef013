"""Who may do what to which workload: rules in Cedar, which operators read and replace."""
