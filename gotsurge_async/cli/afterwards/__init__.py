"""Commands about orders after their push, one file each."""
