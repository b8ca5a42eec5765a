"""How Linux behaves, as tables and pure functions over the model: what both engines share."""
