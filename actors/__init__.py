"""The Ray layer: a loop in each actor, ZeroMQ between them, Ray around them. It knows no rule and no scenario by name."""
