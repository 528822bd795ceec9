"""What the service is: its operations, what is assumed about them, and what an OpenAPI document says of them."""
