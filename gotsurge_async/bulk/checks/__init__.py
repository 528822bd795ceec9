"""What can be said of one order alone, before it is sent, and how numbers of them are told."""
