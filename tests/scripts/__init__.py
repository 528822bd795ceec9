"""What is done to the project, and not with the package."""
