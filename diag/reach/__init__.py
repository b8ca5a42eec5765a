"""All pairs as groups, flows and look-ups, explanations, fixes."""
