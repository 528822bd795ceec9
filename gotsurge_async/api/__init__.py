"""The service's operations, the assumptions about them, and their OpenAPI document."""
