"""A look at orders before they are sent."""
