"""Language models: their texts, objectives, training and generation."""
